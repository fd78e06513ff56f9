//! The HTML report, opened in a real browser: headless Chromium, which `.ci/setup` installs.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::{gatewise, gatewise_in, golden};
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

/// Runs the browser on a page until its scripts are done, and gives its output.
fn run_browser(browser: &Path, folder: &TempDir, page: &Path, options: &[String]) -> Output {
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"])
        .args(["--enable-logging=stderr", "--v=0", "--virtual-time-budget=2000"])
        .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
        .args(options)
        .arg(format!("file://{}", page.display()))
        .stdin(Stdio::null())
        .output()
        .expect("the browser runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

const LIGHT: &str = "--blink-settings=preferredColorScheme=1";
const DARK: &str = "--blink-settings=preferredColorScheme=0";

/// The page after its scripts and `then` have run, and what it wrote to the console.
fn opened(browser: &Path, folder: &TempDir, report: &Path, scheme: &str, then: &str) -> (String, String) {
    let page = std::fs::read_to_string(report).unwrap();
    let page =
        page.replace("</body>", &format!("<script>addEventListener('load', () => {{ {then} }});</script></body>"));
    let path = folder.path().join("page.html");
    std::fs::write(&path, page).unwrap();
    let options = ["--window-size=1000,1200", "--dump-dom", scheme].map(str::to_owned);
    let output = run_browser(browser, folder, &path, &options);
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let console = log.lines().filter(|l| l.contains("CONSOLE")).collect::<Vec<_>>().join("\n");
    (String::from_utf8(output.stdout).unwrap(), console)
}

/// The value of an attribute that a script set.
fn attribute(dom: &str, name: &str) -> String {
    let start = dom.find(&format!("{name}=\"")).unwrap_or_else(|| panic!("no {name}")) + name.len() + 2;
    dom[start..].split('"').next().unwrap().replace("&quot;", "\"")
}

/// The three verdicts, each with what gives it and its exit code.
fn cases(folder: &TempDir) -> [(&'static str, PathBuf); 3] {
    let basic = golden("basic");
    let wrong = basic.join("keras2/wrong/no_forget_bias.weights.h5");
    let constant = golden("../checkpoints/dead_weights");
    [
        ("PASS", report(folder, &[&basic], 0)),
        ("FAIL", report(folder, &[&basic, &wrong], 1)),
        ("INCONCLUSIVE", report(folder, &[&constant], 3)),
    ]
}

fn browser_or_skip(test: &str) -> Option<PathBuf> {
    let browser = browser();
    if browser.is_none() {
        assert!(std::env::var_os("CI").is_none(), "no Chromium on PATH, and CI is set");
        eprintln!("SKIPPED {test}: no Chromium on PATH; .ci/setup installs it");
    }
    browser
}

#[test]
fn reports_open_show_their_verdict_and_answer_the_pointer() {
    let Some(browser) = browser_or_skip("reports_open_show_their_verdict_and_answer_the_pointer") else { return };
    let folder = TempDir::new().unwrap();
    for (verdict, file) in cases(&folder) {
        let html = std::fs::read_to_string(&file).unwrap();
        for outside in ["http://", "https://", "src=", "@import", "url("] {
            assert!(!html.contains(outside), "{verdict}: {outside} would reach outside the file");
        }
        // Over the middle of every chart, then three keys to the right.
        let then = "const all = []; for (const c of document.querySelectorAll('.chart')) { \
             const b = c.getBoundingClientRect(); const tip = document.getElementById('tip'); \
             c.dispatchEvent(new PointerEvent('pointermove', {clientX: b.left + b.width / 2, clientY: b.top + 9})); \
             const first = tip.textContent; \
             for (let i = 0; i < 3; i++) c.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight'})); \
             all.push({ chart: c.id, first, then: tip.textContent, shown: getComputedStyle(tip).visibility, \
               focus: c.tabIndex, label: c.getAttribute('aria-label') }); } \
             document.body.dataset.tips = JSON.stringify(all); \
             document.body.dataset.wide = document.documentElement.scrollWidth <= window.innerWidth;";
        let (dom, console) = opened(&browser, &folder, &file, LIGHT, then);
        assert_eq!(console, "", "{verdict}");
        assert!(dom.contains(&format!("<strong>{verdict}</strong>")), "{verdict}");
        assert_eq!(attribute(&dom, "data-wide"), "true", "{verdict}: the page is wider than the window");
        let paths = dom.matches("class=\"line s").count();
        assert!(paths >= 6, "{verdict}: {paths} curves and legends");
        let tips: serde_json::Value = serde_json::from_str(&attribute(&dom, "data-tips")).unwrap();
        let tips = tips.as_array().unwrap();
        let charts: Vec<&str> = tips.iter().map(|t| t["chart"].as_str().unwrap()).collect();
        assert_eq!(charts, ["carried-0", "local-0"], "{verdict}");
        for (tip, line) in tips.iter().zip(["between the lanes  ", "rounding bound  "]) {
            let step = |text: &serde_json::Value| {
                let text = text.as_str().unwrap();
                assert!(text.starts_with("step ") && text.contains(line), "{verdict}: {text}");
                text.trim_start_matches("step ").lines().next().unwrap().trim().parse::<usize>().unwrap()
            };
            assert_eq!(step(&tip["then"]), step(&tip["first"]) + 3, "{verdict}: the arrow keys move on");
            assert_eq!((&tip["shown"], &tip["focus"]), (&"visible".into(), &0.into()), "{verdict}");
            assert!(tip["label"].as_str().unwrap().contains("arrow keys"), "{verdict}");
        }
        for part in ["What to do now", "Every step as a table", "units furthest apart", "To repeat it", "SHA-256"] {
            assert!(dom.contains(part), "{verdict}: no {part}");
        }
        assert!(dom.contains("gatewise verify "), "{verdict}: the command that repeats it");
    }
}

/// On a telephone nothing reaches beyond the edge but what scrolls by itself, and the words in pictures keep a size that
/// can be read.
#[test]
fn reports_fit_a_narrow_screen() {
    let Some(browser) = browser_or_skip("reports_fit_a_narrow_screen") else { return };
    let folder = TempDir::new().unwrap();
    for (verdict, file) in cases(&folder) {
        // A window cannot be so narrow, a frame in it can.
        let page =
            std::fs::read_to_string(&file).unwrap().replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
        let path = folder.path().join("frame.html");
        let frame = format!(
            "<body><iframe style=\"width: 400px; height: 900px; border: 0\" srcdoc=\"{page}\"></iframe></body>"
        );
        std::fs::write(&path, frame).unwrap();
        let then = "const inside = document.querySelector('iframe').contentDocument; \
             document.body.dataset.inner = inside.defaultView.innerWidth; \
             document.body.dataset.wide = inside.documentElement.scrollWidth; \
             document.body.dataset.least = Math.min(...[...inside.querySelectorAll('.tick')].map( \
               (t) => t.getBoundingClientRect().height));";
        let (dom, console) = opened(&browser, &folder, &path, LIGHT, then);
        assert_eq!(console, "", "{verdict}");
        assert_eq!(attribute(&dom, "data-inner"), "400", "{verdict}");
        assert_eq!(attribute(&dom, "data-wide"), "400", "{verdict}: it is wider than the screen");
        let least: f64 = attribute(&dom, "data-least").parse().unwrap();
        assert!(least >= 9.0, "{verdict}: {least} px");
    }
}

/// By the formula of the Web Content Accessibility Guidelines, which ask for 4.5.
const CONTRAST: &str = "const light = (c) => { const [r, g, b] = c.match(/[\\d.]+/g).map((v) => { v /= 255; \
       return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; }; \
     const behind = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; \
       if (!/, 0\\)$|transparent/.test(c)) return c; } return 'rgb(255, 255, 255)'; }; \
     let least = { ratio: 99 }; \
     for (const e of document.querySelectorAll('p, li, th, td, h1, h2, h3, strong, summary, figcaption, code, pre, .tick')) { \
       const s = getComputedStyle(e); const [a, b] = [light(e.matches('.tick') ? s.fill : s.color), light(behind(e))]; \
       const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05); \
       if (ratio < least.ratio) least = { ratio, what: e.outerHTML.slice(0, 80) }; } \
     document.body.dataset.contrast = JSON.stringify(least); \
     document.body.dataset.paper = getComputedStyle(document.body).backgroundColor;";

#[test]
fn text_stands_out_in_light_and_in_dark() {
    let Some(browser) = browser_or_skip("text_stands_out_in_light_and_in_dark") else { return };
    let folder = TempDir::new().unwrap();
    for (verdict, file) in cases(&folder) {
        let mut papers = vec![];
        for scheme in [LIGHT, DARK] {
            let (dom, console) = opened(&browser, &folder, &file, scheme, CONTRAST);
            assert_eq!(console, "", "{verdict}");
            let least: serde_json::Value = serde_json::from_str(&attribute(&dom, "data-contrast")).unwrap();
            let ratio = least["ratio"].as_f64().unwrap();
            assert!((4.5..=21.0).contains(&ratio), "{verdict}, {scheme}: {least}");
            papers.push(attribute(&dom, "data-paper"));
        }
        assert_ne!(papers[0], papers[1], "{verdict}: dark is not light");
    }
}

#[test]
fn a_report_prints_with_everything_that_was_closed() {
    let Some(browser) = browser_or_skip("a_report_prints_with_everything_that_was_closed") else { return };
    let folder = TempDir::new().unwrap();
    let [_, (_, file), _] = cases(&folder);
    let pdf = folder.path().join("report.pdf");
    run_browser(&browser, &folder, &file, &[format!("--print-to-pdf={}", pdf.display()), DARK.to_owned()]);
    let bytes = std::fs::read(&pdf).unwrap();
    assert!(bytes.starts_with(b"%PDF-") && bytes.len() > 20_000, "{} bytes", bytes.len());
    let then = "dispatchEvent(new Event('beforeprint')); \
         document.body.dataset.open = document.querySelectorAll('details[open]').length; \
         document.body.dataset.all = document.querySelectorAll('details').length; \
         dispatchEvent(new Event('afterprint')); \
         document.body.dataset.after = document.querySelectorAll('details[open]').length;";
    let (dom, _) = opened(&browser, &folder, &file, LIGHT, then);
    assert_eq!(attribute(&dom, "data-open"), attribute(&dom, "data-all"));
    assert_eq!((attribute(&dom, "data-all").as_str(), attribute(&dom, "data-after").as_str()), ("3", "0"));
}

/// The picture in README.md. `GATEWISE_UPDATE_PICTURE=1` draws it anew; otherwise it must be there, be what a browser can
/// show, and be of a report that looks as reports do now.
#[test]
fn the_picture_in_the_readme_is_of_a_report() {
    let root = golden("../..");
    let picture = root.join("docs/report.png");
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("report.html");
    let wrong = "tests/golden/basic/keras2/wrong/no_forget_bias.weights.h5";
    let line = ["verify", "tests/golden/basic", wrong, "--device", "cpu", "--report", file.to_str().unwrap()];
    gatewise_in(&root, line).expect_code(1, "verify --report");
    // The command in it is one that anybody would give.
    let html = std::fs::read_to_string(&file).unwrap().replace(file.to_str().unwrap(), "report.html");
    std::fs::write(&file, &html).unwrap();
    let looks = looks(&html);
    if std::env::var_os("GATEWISE_UPDATE_PICTURE").is_some() {
        let browser = browser().expect("a browser draws the picture");
        let options =
            ["--window-size=1000,1290".to_owned(), LIGHT.to_owned(), format!("--screenshot={}", picture.display())];
        run_browser(&browser, &folder, &file, &options);
        let bytes = std::fs::read(&picture).unwrap();
        std::fs::write(&picture, with_comment(&bytes, &looks)).unwrap();
    }
    let bytes = std::fs::read(&picture).expect("docs/report.png; GATEWISE_UPDATE_PICTURE=1 draws it");
    assert!(bytes.starts_with(b"\x89PNG\r\n\x1a\n"));
    assert!((20_000..200_000).contains(&bytes.len()), "{} bytes", bytes.len());
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!((number(16), number(20)), (1000, 1290), "width and height");
    let comment = [COMMENT, looks.as_bytes()].concat();
    let is_current = bytes.windows(comment.len()).any(|w| w == comment);
    assert!(
        is_current,
        "docs/report.png is of a report that looked otherwise; GATEWISE_UPDATE_PICTURE=1 draws it anew"
    );
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    assert!(readme.contains("(docs/report.png)"), "README.md shows it");
}

/// Digest of what the looks of a report hang on: its style, and its headings and captions without what was measured.
fn looks(html: &str) -> String {
    use sha2::{Digest, Sha256};
    let between = |from: &str, to: &str| -> String {
        html.split(from).skip(1).map(|piece| piece.split(to).next().unwrap_or_default()).collect()
    };
    let mut words: String = [("<h2>", "</h2>"), ("<h3>", "</h3>"), ("<th", "</th>"), ("<figcaption>", "</figcaption>")]
        .map(|(from, to)| between(from, to))
        .concat();
    words.retain(|c| !c.is_ascii_digit());
    assert!(words.len() > 500, "{words}");
    let digest = Sha256::digest(between("<style>", "</style>") + &words);
    digest.iter().map(|b| format!("{b:02x}")).collect()
}

/// How a comment begins in a PNG file.
const COMMENT: &[u8] = b"tEXtComment\0";

/// A picture with a comment before its end, in the form of the PNG specification: length, type, data, CRC.
fn with_comment(png: &[u8], comment: &str) -> Vec<u8> {
    let chunk = [COMMENT, comment.as_bytes()].concat();
    let crc = chunk.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
    });
    // The last chunk has 12 bytes.
    let (picture, end) = png.split_at(png.len() - 12);
    let length = u32::try_from(chunk.len() - 4).unwrap().to_be_bytes();
    [picture, &length, &chunk, &(!crc).to_be_bytes(), end].concat()
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
