//! The HTML report, opened in a real browser: headless Chromium, which `.ci/setup` installs.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{gatewise, golden};
use tempfile::TempDir;

fn browser() -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").map(|p| std::env::split_paths(&p).collect::<Vec<_>>()).unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome", "chrome"];
    folders.iter().flat_map(|folder| names.map(|name| folder.join(name))).find(|path| path.is_file())
}

/// The report of a verification that ends with `code`.
fn report(folder: &TempDir, arguments: &[&Path], code: i32) -> PathBuf {
    let file = folder.path().join(format!("report-{code}.html"));
    let mut all: Vec<&std::ffi::OsStr> = vec!["verify".as_ref()];
    all.extend(arguments.iter().map(|a| a.as_os_str()));
    all.extend(["--device".as_ref(), "cpu".as_ref(), "--report".as_ref(), file.as_os_str()]);
    gatewise(all).expect_code(code, "verify --report");
    file
}

/// The page after its scripts and `then` have run, and what it wrote to the console.
fn opened(browser: &Path, folder: &TempDir, report: &Path, then: &str) -> (String, String) {
    let page = std::fs::read_to_string(report).unwrap();
    let page =
        page.replace("</body>", &format!("<script>addEventListener('load', () => {{ {then} }});</script></body>"));
    let path = folder.path().join("page.html");
    std::fs::write(&path, page).unwrap();
    let output = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--enable-logging=stderr",
            "--v=0",
        ])
        .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
        .args(["--window-size=1000,1200", "--virtual-time-budget=2000", "--dump-dom"])
        .arg(format!("file://{}", path.display()))
        .stdin(Stdio::null())
        .output()
        .expect("the browser runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let console = log.lines().filter(|l| l.contains("CONSOLE")).collect::<Vec<_>>().join("\n");
    (String::from_utf8(output.stdout).unwrap(), console)
}

#[test]
fn reports_open_show_their_verdict_and_answer_the_pointer() {
    let Some(browser) = browser() else {
        assert!(std::env::var_os("CI").is_none(), "no Chromium on PATH, and CI is set");
        eprintln!("SKIPPED: no Chromium on PATH; .ci/setup installs it");
        return;
    };
    let folder = TempDir::new().unwrap();
    let basic = golden("basic");
    let wrong = basic.join("keras2/wrong/no_forget_bias.weights.h5");
    let constant = golden("../checkpoints/dead_weights");
    let cases: [(&str, Vec<&Path>, i32); 3] =
        [("PASS", vec![&basic], 0), ("FAIL", vec![&basic, &wrong], 1), ("INCONCLUSIVE", vec![&constant], 3)];
    for (verdict, arguments, code) in cases {
        let file = report(&folder, &arguments, code);
        let html = std::fs::read_to_string(&file).unwrap();
        for outside in ["http://", "https://", "src=", "@import", "url("] {
            assert!(!html.contains(outside), "{verdict}: {outside} would reach outside the file");
        }
        // Over the middle of the first chart, then three keys to the right.
        let then = "const c = document.querySelector('.chart'); const b = c.getBoundingClientRect(); \
             c.dispatchEvent(new PointerEvent('pointermove', {clientX: b.left + b.width / 2, clientY: b.top + 9})); \
             const first = document.getElementById('tip').textContent; \
             for (let i = 0; i < 3; i++) c.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight'})); \
             document.body.dataset.first = first; \
             document.body.dataset.wide = document.documentElement.scrollWidth <= window.innerWidth;";
        let (dom, console) = opened(&browser, &folder, &file, then);
        assert_eq!(console, "", "{verdict}");
        assert!(dom.contains(&format!("<strong>{verdict}</strong>")), "{verdict}");
        assert!(dom.contains("data-wide=\"true\""), "{verdict}: the page is wider than the window");
        let paths = dom.matches("class=\"line s").count();
        assert!(paths >= 6, "{verdict}: {paths} curves and legends");
        let attribute = |name: &str| {
            let start =
                dom.find(&format!("{name}=\"")).unwrap_or_else(|| panic!("{verdict}: no {name}")) + name.len() + 2;
            dom[start..].split('"').next().unwrap().to_owned()
        };
        let first = attribute("data-first");
        assert!(first.starts_with("step ") && first.contains("between the lanes  "), "{verdict}: {first}");
        let tip = dom.split("id=\"tip\"").nth(1).unwrap().split('>').nth(1).unwrap();
        let step =
            |text: &str| text.trim_start_matches("step ").lines().next().unwrap().trim().parse::<usize>().unwrap();
        assert_eq!(step(tip), step(&first) + 3, "{verdict}: the arrow keys move on");
        assert!(dom.contains("visibility: visible"), "{verdict}: the tooltip is shown");
    }
}

#[test]
fn a_report_is_never_written_over_what_was_read() {
    let folder = TempDir::new().unwrap();
    let candidate = folder.path().join("basic.npz");
    let run = gatewise(["convert".as_ref(), golden("basic").as_os_str(), "-o".as_ref(), candidate.as_os_str()]);
    run.expect_code(0, "convert");
    let before = std::fs::read(&candidate).unwrap();
    let basic = golden("basic");
    let verify =
        ["verify".as_ref(), basic.as_os_str(), candidate.as_os_str(), "--report".as_ref(), candidate.as_os_str()];
    let run = gatewise(verify);
    run.expect_code(2, "verify --report over its candidate");
    assert!(run.stderr.contains("choose another file"), "{}", run.stderr);
    assert_eq!(std::fs::read(&candidate).unwrap(), before);
}
