"""Runs the examples of README.md from its own text, against a fresh cluster.

A fenced block whose first line ends in `run` is executed as it stands: `sh run` by bash, `python
run` by this Python. Its environment is what `eval "$(./dev env)"` gives. A block `output` that
follows must be the whole output; `…` in it stands for any text without a line break.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys

import cluster as clusters

ROOT = pathlib.Path(__file__).resolve().parent.parent
BLOCK_S = 60
FENCE = re.compile(r"^```(\w+) (run|output)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(text):
    """(language, code, expected output or None), in order."""
    found = []
    for language, kind, body in FENCE.findall(text):
        if kind == "run":
            found.append([language, body, None])
        else:
            found[-1][2] = body
    return found


def matches(expected, output):
    pattern = ".*?".join(re.escape(part) for part in expected.strip().split("…"))
    return re.fullmatch(pattern, output.strip()) is not None


def environment(cluster):
    """The current environment with the lines of `./dev env`."""
    command = [sys.executable, str(ROOT / "tests/main_job.py"), "--print-env"]
    command += ["--dir", str(cluster.directory)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    env = dict(os.environ)
    for line in lines.splitlines():
        name, value = line.removeprefix("export ").split("=", 1)
        env[name] = value.strip("'")
    return env


def run_block(language, code, env):
    interpreter = {"sh": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}
    return subprocess.run(
        [*interpreter[language], code], env=env, cwd=ROOT, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=BLOCK_S,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", required=True)
    parser.add_argument("--dir", required=True)
    options = parser.parse_args()
    found = blocks((ROOT / "README.md").read_text())
    languages = [language for language, _, _ in found]
    if languages.count("sh") < 2 or "python" not in languages:
        sys.exit(f"README.md has too few blocks to run: {languages}")
    failures = 0
    with clusters.Cluster(options.binary, options.dir, fresh=True) as cluster:
        env = environment(cluster)
        for language, code, expected in found:
            done = run_block(language, code, env)
            right = done.returncode == 0 and (expected is None or matches(expected, done.stdout))
            first = code.strip().splitlines()[0]
            print(f"    {'ok    ' if right else 'FAILED'} {language}: {first}", flush=True)
            if not right:
                failures += 1
                print(f"status {done.returncode}\n{done.stdout}{done.stderr}")
                print(f"expected:\n{expected}")
    print(f"README: {len(found) - failures} passed, {failures} failed")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
