#!/usr/bin/env python3
"""Draws verdict.svg from three verifications of tests/golden/basic: a right conversion and two wrong ones.

    cargo build --release --locked -p gatewise && python3 docs/make_verdict_figure.py [PATH_OF_GATEWISE]

Needs the standard library alone. The CPU is named, so that a GPU makes no difference.
"""

import json
import math
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHECKPOINT = "tests/golden/basic"
CANDIDATES = [  # file, class in the style sheet, verdict, label
    ("keras2/model.keras", "right", "pass", ["right conversion"]),
    ("keras2/wrong/one_weight_off_by_1_percent.weights.h5", "weight", "fail", ["one weight of 448", "off by 1 %"]),
    ("keras2/wrong/no_forget_bias.weights.h5", "missing", "fail", ["forget bias missing"]),
]
LEFT, RIGHT, WIDTH, HEIGHT = 62, 530, 700, 600
# First and last decade, upper and lower edge.
LOCAL = (-2, 6, 62, 270)
CARRIED = (-7, 1, 362, 570)
STYLE = """
    text { font: 13px sans-serif; fill: var(--ink); }
    .heading { font-weight: bold; font-size: 14px; }
    .small { font-size: 12px; fill: var(--soft); }
    .tick { text-anchor: end; }
    .under { text-anchor: middle; }
    .grid { stroke: var(--grid); stroke-width: 1; }
    .line { fill: none; stroke-width: 2; stroke-linejoin: round; }
    .limit { fill: none; stroke: var(--ink); stroke-width: 1.5; stroke-dasharray: 7 4; }
    .floor { fill: none; stroke: var(--soft); stroke-width: 1.5; stroke-dasharray: 2 3; }
    .right { stroke: var(--right); }
    .weight { stroke: var(--weight); }
    .missing { stroke: var(--missing); }
    text.right { fill: var(--right); stroke: none; }
    text.weight { fill: var(--weight); stroke: none; }
    text.missing { fill: var(--missing); stroke: none; }
    .beyond { fill: var(--missing); opacity: 0.07; }
    .paper { fill: var(--paper); }
    svg { --paper: #ffffff; --ink: #1f2328; --soft: #59636e; --grid: #e3e6ea;
          --right: #0072b2; --weight: #9a5b88; --missing: #c24e00; }
    @media (prefers-color-scheme: dark) {
      svg { --paper: #0d1117; --ink: #e6edf3; --soft: #9aa4af; --grid: #262c34;
            --right: #56b4e9; --weight: #e0a3ca; --missing: #ff9248; }
    }
"""


def verify(gatewise, candidate, verdict):
    """The steps of the first LSTM."""
    command = [gatewise, "verify", CHECKPOINT, f"{CHECKPOINT}/{candidate}", "--device", "cpu", "--format", "json"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if run.returncode not in (0, 1):
        sys.exit(f"{' '.join(command[1:])} ended with {run.returncode}: {run.stderr}")
    document = json.loads(run.stdout)
    if document["verdict"] != verdict:
        sys.exit(f"{candidate}: {document['verdict']}, and the figure expects {verdict}")
    return document["lstms"][0]["timesteps"]


def local_share(step):
    return max(step["local"]["keras_ratio"].values())


def distance(step):
    return max(step["carried"]["keras_from_oracle"][state] for state in "hc")


def y_of(panel, value):
    first, last, top, bottom = panel
    decade = min(max(math.log10(value), first), last) if value > 0 else first
    return bottom - (decade - first) / (last - first) * (bottom - top)


def curve(panel, values, kind):
    steps = len(values) - 1
    points = " ".join(
        f"{LEFT + t / steps * (RIGHT - LEFT):.1f},{y_of(panel, value):.1f}" for t, value in enumerate(values)
    )
    return f'<polyline class="{kind}" points="{points}"/>'


def text(x, y, words, kind=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{words}</text>'


def label(panel, value, lines, kind):
    """Beside the end of a curve."""
    middle = y_of(panel, value) + 4.5 - 8 * (len(lines) - 1)
    return [text(RIGHT + 9, middle + 16 * k, words, kind) for k, words in enumerate(lines)]


def axes(panel, heading, below, steps):
    first, last, top, bottom = panel
    out = [text(LEFT - 48, top - 34, heading, "heading"), text(LEFT - 48, top - 16, below, "small")]
    for decade in range(first, last + 1):
        y = y_of(panel, 10.0**decade)
        out.append(f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        if decade % 2 == 0:
            power = "1" if decade == 0 else f'10<tspan dy="-5" font-size="10">{str(decade).replace("-", "−")}</tspan>'
            out.append(text(LEFT - 8, y + 4.5, power, "small tick"))
    for t in (0, 20, 40, 60, 80, steps - 1):
        out.append(text(LEFT + t / (steps - 1) * (RIGHT - LEFT), bottom + 18, str(t), "small under"))
    out.append(text(RIGHT + 16, bottom + 18, "time step", "small"))
    return out


def main():
    gatewise = str(Path(sys.argv[1]).resolve()) if len(sys.argv) > 1 else str(ROOT / "target/release/gatewise")
    runs = [(verify(gatewise, file, verdict), kind, lines) for file, kind, verdict, lines in CANDIDATES]
    right = runs[0][0]
    floor = [step["carried"]["noise_floor"] for step in right]
    allowed = [step["carried"]["allowed"] for step in right]

    out = axes(LOCAL, "Local error of the Keras lane, as a share of its bound",
               "one step from the oracle’s state; the largest of h, c and the four gates at each step", len(right))
    top, bound = LOCAL[2], y_of(LOCAL, 1.0)
    out.append(f'<rect class="beyond" x="{LEFT}" y="{top}" width="{RIGHT - LEFT}" height="{bound - top:.1f}"/>')
    out.append(curve(LOCAL, [1.0] * len(right), "limit"))
    out += label(LOCAL, 1.6, ["bound: rounding", "explains no more"], "")
    for steps, kind, lines in runs:
        values = [local_share(step) for step in steps]
        out.append(curve(LOCAL, values, f"line {kind}"))
        out += label(LOCAL, values[-1] if kind != "right" else 0.13, lines, kind)

    out += axes(CARRIED, "Carried error: distance of the Keras lane from the oracle",
                "running freely; the larger of h and c at each step", len(right))
    # Everything above the allowed line, as one area.
    x = [LEFT + t / (len(right) - 1) * (RIGHT - LEFT) for t in range(len(right))]
    edge = " ".join(f"{x:.1f},{y_of(CARRIED, value):.1f}" for x, value in zip(x, allowed))
    out.append(f'<polygon class="beyond" points="{edge} {RIGHT},{CARRIED[2]} {LEFT},{CARRIED[2]}"/>')
    out.append(curve(CARRIED, allowed, "limit"))
    out.append(curve(CARRIED, floor, "floor"))
    out += label(CARRIED, allowed[-1], ["allowed"], "")
    out += label(CARRIED, floor[-1], ["noise floor: farthest", "right f32 run so far"], "small")
    for steps, kind, lines in runs:
        values = [distance(step) for step in steps]
        out.append(curve(CARRIED, values, f"line {kind}"))
        out += label(CARRIED, values[-1] if kind != "right" else values[-1] / 2, lines, kind)

    # What the description says.
    assert all(distance(step) < low for step, low in zip(right, floor))
    assert all(distance(step) > high for run in runs[1:] for step, high in zip(run[0], allowed))
    worst = max(local_share(step) for step in right)
    description = (
        "Two panels over 100 time steps, both on a logarithmic axis. Upper panel: local error of the Keras lane as a "
        f"share of its bound. The right conversion stays at or below {worst:.2f}, a conversion with one weight off by "
        f"1 % is at {min(map(local_share, runs[1][0])):.0f} to {max(map(local_share, runs[1][0])):.0f}, one without the "
        f"forget bias at {min(map(local_share, runs[2][0])):.1e} or more. Lower panel: carried distance from the oracle. "
        "The right conversion stays below the noise floor and the allowed line, both wrong ones are above it at every step."
    )
    svg = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="t d">',
        '<title id="t">Local and carried error of one right and two wrong conversions</title>',
        f'<desc id="d">{description}</desc>',
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}"/>',
        *out,
        "</svg>",
        "",
    ]
    (ROOT / "docs/verdict.svg").write_text("\n".join(svg), encoding="utf-8")


if __name__ == "__main__":
    main()
