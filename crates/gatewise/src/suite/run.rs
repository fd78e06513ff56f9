//! Running cases: several at once, one at a time on each GPU, each by itself.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

use lanes::{Choice, Device, DeviceError};
use report::document::{CaseTime, Ending, Finding};

use super::host::Host;
use super::journal::{Journal, Record};
use super::key;
use super::plan::Case;
use super::progress::Progress;
use crate::args;
use crate::error::{self, CliError};
use crate::verify::Judged;

/// The verdicts need a stack as deep as the main thread's.
const STACK: usize = 16 << 20;

/// How one verification is made: [`crate::verify::judge`], but for tests.
pub(crate) type Judge<'a> = &'a (dyn Fn(&args::Verify) -> Result<Judged, CliError> + Sync);

/// How cases run.
pub(crate) struct Runner<'a> {
    pub(crate) jobs: usize,
    pub(crate) host: &'a Host,
    pub(crate) journal: Option<&'a Journal>,
    pub(crate) progress: &'a Progress,
    pub(crate) judge: Judge<'a>,
}

/// What became of one case.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) finding: Finding,
    pub(crate) time: CaseTime,
}

/// What is to be done still, and which devices are at it.
struct Queue<'a> {
    /// Indices into the cases, last first.
    waiting: Vec<usize>,
    busy: Vec<&'a Device>,
    /// The state file cannot be written: nothing more is begun.
    stopped: Option<CliError>,
}

impl Runner<'_> {
    /// Runs every case, in no order that matters; the results are in the order of the cases.
    ///
    /// # Errors
    /// If the state file cannot be written. What becomes of a case is no error.
    pub(crate) fn run(&self, cases: &[&Case]) -> Result<Vec<Done>, CliError> {
        let devices: Vec<(Choice, Result<Device, DeviceError>)> = open_devices(cases);
        let device_of = |case: &Case| {
            let found = devices.iter().find(|(choice, _)| *choice == case.verify.device);
            found.and_then(|(_, device)| device.as_ref().ok())
        };
        let queue = Mutex::new(Queue { waiting: (0..cases.len()).rev().collect(), busy: vec![], stopped: None });
        let freed = Condvar::new();
        let done: Vec<Mutex<Option<Done>>> = cases.iter().map(|_| Mutex::new(None)).collect();
        let work = || {
            while let Some(index) = self.next(&queue, &freed, cases, &device_of) {
                let outcome = self.one(cases[index], device_of(cases[index]));
                let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(gpu) = device_of(cases[index]).filter(|d| is_exclusive(d)) {
                    queue.busy.retain(|busy| busy.burn() != gpu.burn());
                }
                match outcome {
                    Ok(result) => *done[index].lock().unwrap_or_else(PoisonError::into_inner) = Some(result),
                    Err(error) => queue.stopped = Some(error),
                }
                freed.notify_all();
            }
        };
        std::thread::scope(|scope| {
            // Where the system has no thread left to give, this one does the work.
            let started: Vec<_> = (0..self.jobs.clamp(1, cases.len().max(1)))
                .map_while(|_| std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work).ok())
                .collect();
            if started.is_empty() {
                work();
            }
        });
        self.progress.finish();
        if let Some(error) = queue.into_inner().unwrap_or_else(PoisonError::into_inner).stopped {
            return Err(error);
        }
        // A case that nobody finished would be a bug of the queue: it is an error of the case, never a pass.
        let lost = || Done { finding: error_finding("it was not run".to_owned()), time: self.time(0.0) };
        Ok(done
            .into_iter()
            .map(|d| d.into_inner().unwrap_or_else(PoisonError::into_inner).unwrap_or_else(lost))
            .collect())
    }

    /// The next case whose device is free; waits where all are busy.
    fn next<'d>(
        &self,
        queue: &Mutex<Queue<'d>>,
        freed: &Condvar,
        cases: &[&Case],
        device_of: &dyn Fn(&Case) -> Option<&'d Device>,
    ) -> Option<usize> {
        let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if queue.stopped.is_some() || queue.waiting.is_empty() {
                return None;
            }
            let is_free = |index: &usize| {
                device_of(cases[*index])
                    .is_none_or(|d| !is_exclusive(d) || queue.busy.iter().all(|b| b.burn() != d.burn()))
            };
            if let Some(position) = queue.waiting.iter().rposition(is_free) {
                let index = queue.waiting.remove(position);
                queue.busy.extend(device_of(cases[index]).filter(|d| is_exclusive(d)));
                return Some(index);
            }
            queue = freed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn one(&self, case: &Case, device: Option<&Device>) -> Result<Done, CliError> {
        let key = || {
            let of = || key::of(case, device.map(Device::info), self.host);
            catch_unwind(AssertUnwindSafe(of)).ok().flatten()
        };
        let before = self.journal.and_then(|_| key());
        if let Some(record) = self.journal.zip(before.as_ref()).and_then(|(j, key)| j.find(key)) {
            self.progress.known(case, &record.finding);
            return Ok(Done { finding: record.finding.clone(), time: record.time.clone() });
        }
        let begun = Instant::now();
        let finding = match catch_unwind(AssertUnwindSafe(|| (self.judge)(&case.verify))) {
            Ok(Ok(judged)) => Finding::from(&judged.document),
            Ok(Err(error)) => {
                let text = error::render(&error);
                error_finding(text.strip_prefix("error: ").unwrap_or(&text).trim_end().to_owned())
            }
            Err(panic) => error_finding(format!("gatewise panicked, which is a bug in it: {}", message(&*panic))),
        };
        let time = self.time(begun.elapsed().as_secs_f64());
        // An error is no result: it is tried again. And what the files were is known only if they are so still.
        if let (Some(journal), Some(key_before)) = (self.journal, before)
            && finding.verdict != Ending::Error
            && key().as_ref() == Some(&key_before)
        {
            journal.add(&Record { key: key_before, finding: finding.clone(), time: time.clone() })?;
        }
        self.progress.done(case, &finding, time.seconds);
        Ok(Done { finding, time })
    }

    fn time(&self, seconds: f64) -> CaseTime {
        CaseTime { seconds: (seconds * 1e3).round() / 1e3, host: self.host.describe(self.jobs) }
    }
}

/// Each device that cases name, opened once and by one thread.
fn open_devices(cases: &[&Case]) -> Vec<(Choice, Result<Device, DeviceError>)> {
    let mut devices: Vec<(Choice, Result<Device, DeviceError>)> = vec![];
    for case in cases {
        let choice = case.verify.device;
        if devices.iter().all(|(known, _)| *known != choice) {
            devices.push((choice, Device::open(choice)));
        }
    }
    devices
}

/// A GPU runs one case at a time: its memory is not to be shared, and neither are its timings.
fn is_exclusive(device: &Device) -> bool {
    device.info().kind != "cpu"
}

fn error_finding(reason: String) -> Finding {
    Finding { verdict: Ending::Error, reasons: vec![reason], faults: vec![], device: None, lstms: 0, divergence: None }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::suite::plan::plan;
    use crate::suite::read::SuiteFile;

    /// A suite of `n` cases on the CPU.
    fn cases(n: usize) -> Vec<Case> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("suite.toml");
        let case = |i| format!("[[case]]\nname = \"{i}\"\ncheckpoint = \"nowhere-{i}\"\ndevice = \"cpu\"\n");
        std::fs::write(&path, (0..n).map(case).collect::<String>()).unwrap();
        plan(&SuiteFile::read(&path).unwrap(), &[]).unwrap().cases
    }

    fn run(cases: &[Case], jobs: usize, judge: Judge<'_>) -> Vec<Done> {
        let (host, progress) = (Host::here(false), Progress::new(cases.len(), true));
        let runner = Runner { jobs, host: &host, journal: None, progress: &progress, judge };
        runner.run(&cases.iter().collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_panic_is_the_error_of_its_case_and_of_no_other() {
        let cases = cases(6);
        let judge = |verify: &args::Verify| -> Result<Judged, CliError> {
            let name = verify.source.checkpoint.display().to_string();
            match name.chars().last() {
                Some('1') => panic!("index {} out of range", 7),
                Some('4') => std::panic::panic_any(7),
                _ => Err(CliError::NothingRun(name)),
            }
        };
        let done = run(&cases, 3, &judge);
        assert!(done.iter().all(|d| d.finding.verdict == Ending::Error));
        assert!(done[1].finding.reasons[0].ends_with("panicked, which is a bug in it: index 7 out of range"));
        assert!(done[4].finding.reasons[0].contains("panicked"));
        for i in [0, 2, 3, 5] {
            assert!(done[i].finding.reasons[0].ends_with(&format!("nowhere-{i}")), "{:?}", done[i].finding);
        }
    }

    #[test]
    fn every_case_runs_once_and_as_many_at_once_as_asked_for() {
        let cases = cases(40);
        for jobs in [1, 3, 100] {
            let (runs, now, most) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
            let judge = |verify: &args::Verify| -> Result<Judged, CliError> {
                runs.fetch_add(1, Ordering::SeqCst);
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::sleep(std::time::Duration::from_millis(2));
                now.fetch_sub(1, Ordering::SeqCst);
                Err(CliError::NothingRun(verify.source.checkpoint.display().to_string()))
            };
            let done = run(&cases, jobs, &judge);
            assert_eq!((runs.into_inner(), done.len()), (40, 40));
            assert!(most.into_inner() <= jobs);
            for (i, d) in done.iter().enumerate() {
                assert!(d.finding.reasons[0].ends_with(&format!("nowhere-{i}")));
            }
        }
    }
}
