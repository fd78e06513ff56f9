//! Keeps a driver's chatter off stderr.
//!
//! On a machine without a display Mesa's Vulkan layer prints a line about `XDG_RUNTIME_DIR` for every instance. An
//! environment variable silences it, but the layer reads it from the environment that the process started with.

/// Starts this program again with the variable set, unless it is set already. Where that fails, chatter is the lesser
/// evil: the program goes on.
pub(crate) fn restart_once() {
    let (name, value) = lanes::QUIET_MESA;
    if std::env::var_os(name).is_some() {
        return;
    }
    #[cfg(unix)]
    if let Ok(program) = std::env::current_exe() {
        use std::os::unix::process::CommandExt;
        // Returns only if it fails.
        let _failed = std::process::Command::new(program).args(std::env::args_os().skip(1)).env(name, value).exec();
    }
}
