//! Contenders that take turns.

use std::time::{Duration, Instant};

use crate::Times;

/// Something to time.
pub struct Contender<'a> {
    /// Does the work once, to its end: a device that works on its own must be waited for.
    pub run: Box<dyn FnMut() -> Result<(), String> + 'a>,
}

/// How often contenders take turns.
#[derive(Clone, Copy, Debug)]
pub struct Rounds {
    /// Turns of each.
    pub rounds: usize,
    /// Contenders that finish sooner run several times a turn: a clock and a cache that was lost to others in between
    /// would weigh too much.
    pub turn: Duration,
}

/// What a contender took.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The very first run, with all that is done once: compiling, allocating, reading what is not in a cache.
    pub first_ms: f64,
    /// The runs after that.
    pub times: Times,
}

/// Lets contenders run in turns. The order changes from round to round, so that none always follows the same one. One
/// that fails takes no more turns, and has no times; `progress` is told of each turn.
pub fn in_turns(
    contenders: &mut [Contender<'_>],
    rounds: Rounds,
    progress: &dyn Fn(),
) -> Vec<Result<Measured, String>> {
    let mut states: Vec<Result<State, String>> = contenders.iter_mut().map(|c| State::first(c, rounds)).collect();
    let count = contenders.len();
    for round in 0..rounds.rounds {
        for index in (0..count).map(|k| (k + round) % count) {
            let failed = match &mut states[index] {
                Ok(state) => state.turn(&mut contenders[index]).err(),
                Err(_) => None,
            };
            if let Some(error) = failed {
                states[index] = Err(error);
            }
            progress();
        }
    }
    states
        .into_iter()
        .map(|state| {
            let State { first_ms, ms, .. } = state?;
            let times = Times::new(ms).ok_or("no turn took a measurable time")?;
            Ok(Measured { first_ms, times })
        })
        .collect()
}

struct State {
    first_ms: f64,
    runs: u32,
    ms: Vec<f64>,
}

impl State {
    fn first(contender: &mut Contender<'_>, rounds: Rounds) -> Result<State, String> {
        let first = timed(contender, 1)?;
        // How often it runs a turn is decided by a second run, without what is done once.
        let second = timed(contender, 1)?;
        Ok(State { first_ms: ms(first), runs: runs_a_turn(second, rounds.turn), ms: vec![] })
    }

    fn turn(&mut self, contender: &mut Contender<'_>) -> Result<(), String> {
        let all = timed(contender, self.runs)?;
        self.ms.push(ms(all) / f64::from(self.runs));
        Ok(())
    }
}

/// How many runs that take so long fill a turn.
fn runs_a_turn(run: Duration, turn: Duration) -> u32 {
    let runs = turn.as_secs_f64() / run.as_secs_f64().max(1e-9);
    runs.ceil().clamp(1.0, 10_000.0) as u32
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn timed(contender: &mut Contender<'_>, runs: u32) -> Result<Duration, String> {
    let started = Instant::now();
    for _ in 0..runs {
        (contender.run)()?;
    }
    Ok(started.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn contenders_alternate_and_change_places() {
        let log = RefCell::new(String::new());
        let sleeper = |name: char, failing: usize| {
            let log = &log;
            let mut runs = 0;
            Contender {
                run: Box::new(move || {
                    log.borrow_mut().push(name);
                    runs += 1;
                    std::thread::sleep(Duration::from_millis(2));
                    if runs == failing { Err("broke".to_owned()) } else { Ok(()) }
                }),
            }
        };
        let mut contenders = [sleeper('a', 0), sleeper('b', 4), sleeper('c', 1)];
        let turns = RefCell::new(0);
        let rounds = Rounds { rounds: 3, turn: Duration::from_millis(1) };
        let found = in_turns(&mut contenders, rounds, &|| *turns.borrow_mut() += 1);
        drop(contenders);
        // Each twice before the first round, but for the one that fails at once.
        assert_eq!(log.into_inner(), "aabbcabbaa");
        assert_eq!(turns.into_inner(), 9);
        let a = found[0].as_ref().unwrap();
        assert!(a.times.turns() == 3 && a.times.min() >= 2.0 && a.first_ms >= 2.0);
        assert_eq!((&found[1], &found[2]), (&Err("broke".to_owned()), &Err("broke".to_owned())));
    }

    #[test]
    fn short_work_is_done_several_times_a_turn() {
        let turn = Duration::from_millis(20);
        assert_eq!(runs_a_turn(Duration::from_millis(3), turn), 7);
        assert_eq!(runs_a_turn(Duration::from_millis(20), turn), 1);
        assert_eq!(runs_a_turn(Duration::from_secs(5), turn), 1);
        assert_eq!(runs_a_turn(Duration::ZERO, turn), 10_000);
    }
}
