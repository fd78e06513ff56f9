//! The machine and the program that a suite runs on.

use disk::Disk;

/// What of them matters to findings and to times.
pub(crate) struct Host {
    /// Version, and digest of the executable: two builds are two programs.
    pub(crate) program: String,
    /// What the processor's vector units can do, which arithmetic on it may depend on.
    pub(crate) arithmetic: String,
    processor: String,
    cores: usize,
}

impl Host {
    /// This one. `with_program` reads the executable, which takes a moment.
    pub(crate) fn here(with_program: bool) -> Host {
        let digest = || Disk::new().sha256(&std::env::current_exe().ok()?, |_| ()).ok();
        let digest = with_program.then(digest).flatten().unwrap_or_default();
        Host {
            program: format!("{} {digest}", env!("CARGO_PKG_VERSION")),
            arithmetic: arithmetic(),
            processor: processor().unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: cores(),
        }
    }

    /// For times: they can be compared where this is equal.
    pub(crate) fn describe(&self, jobs: usize) -> String {
        format!("{}, {} cores, {jobs} at once", self.processor, self.cores)
    }
}

/// How many cores there are.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(target_arch = "x86_64")]
fn arithmetic() -> String {
    let units = [
        ("fma", std::arch::is_x86_feature_detected!("fma")),
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
    ];
    let found: Vec<&str> = units.iter().filter(|(_, found)| *found).map(|(name, _)| *name).collect();
    format!("x86_64 {}", found.join(" "))
}

#[cfg(not(target_arch = "x86_64"))]
fn arithmetic() -> String {
    std::env::consts::ARCH.to_owned()
}

/// The processor's name, where Linux tells it.
fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
