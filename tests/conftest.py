"""What all tests share: the developers' audio (skipped where absent) and the command line as a real process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

# Tests run side by side on all cores: more threads in each would only get in each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The developers' shared folder with real audio and reference numbers."""
    if not SHARED.is_dir():
        pytest.skip("the developers' shared folder with real audio is not beside this checkout")
    return SHARED


@pytest.fixture
def synthkit_cli(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`synthkit ARGS` as a real process, in a temporary working folder with a cache of its own."""

    def call(
        *args: str | Path, cwd: Path = tmp_path, timeout: float = 300, **env: str
    ) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "SYNTHKIT_CACHE": str(tmp_path / "cache"),
            "COLUMNS": "200",
            "NO_COLOR": "1",
            **env,
        }
        command = [sys.executable, "-m", "synthkit", *map(str, args)]
        return subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    return call


@pytest.fixture(scope="session")
def fake_distribution() -> Callable[..., None]:
    """Makes a folder look like one with an installed distribution: its metadata, its entry points and its modules.

    With the folder on the path (`PYTHONPATH`, `monkeypatch.syspath_prepend`) Python finds them as it finds those of pip.
    """

    def make(
        folder: Path, name: str, plugins: Mapping[str, str], modules: Mapping[str, str], version: str = "1.0"
    ) -> None:
        metadata = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8"
        )
        points = "\n".join(f"{plugin} = {module}" for plugin, module in plugins.items())
        (metadata / "entry_points.txt").write_text(f"[synthkit]\n{points}\n", encoding="utf-8")
        for module, text in modules.items():
            file = folder / f"{module.replace('.', '/')}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")

    return make


@pytest.fixture(scope="session")
def make_environment() -> Callable[..., Path]:
    """Makes an environment with distributions of its own, which borrows everything else from this one.

    Returns its Python. Nothing is downloaded, and the folders of the distributions are copied before they are built.
    """

    def run(*command: str | Path) -> str:
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip()

    def make(folder: Path, *distributions: Path) -> Path:
        run(sys.executable, "-m", "venv", "--without-pip", folder)
        python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
        own = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"))
        lines = [f"import site; site.addsitedir({path!r})" for path in sys.path if path.endswith("site-packages")]
        (own / "borrowed.pth").write_text("\n".join(lines), encoding="utf-8")
        copies = [shutil.copytree(it, folder / "sources" / it.name) for it in distributions]
        pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--disable-pip-version-check"]
        run(*pip, "--no-deps", "--no-index", "--no-build-isolation", *copies)
        return python

    return make


Step = Callable[[BaseHTTPRequestHandler, bytes], None]
"""How a `Web` answers one request for a file of that content."""


@dataclass
class Web:
    """A server on localhost with files, which misbehaves as planned and remembers what it was asked."""

    address: str
    files: dict[str, bytes] = field(default_factory=dict)
    plan: list[Step] = field(default_factory=list)
    """How the next requests are answered; after them it serves files as a good server does."""
    seen: list[tuple[str, str | None]] = field(default_factory=list)
    """The name and the `Range` of each request."""

    def url(self, name: str) -> str:
        """The address of a file."""
        return f"{self.address}/{name}"

    @staticmethod
    def serve(request: BaseHTTPRequestHandler, content: bytes, *, cut: int | None = None, ranges: bool = True) -> None:
        """A good answer, ranges and all; with `cut` the connection ends after so many bytes."""
        tag = f'"{sha1(content).hexdigest()}"'
        wanted = request.headers.get("Range") if ranges else None
        if wanted and request.headers.get("If-Range", tag) == tag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                request.send_response(416)
                request.send_header("Content-Range", f"bytes */{len(content)}")
                request.end_headers()
                return
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            content = content[start:]
        else:
            request.send_response(200)
        request.send_header("ETag", tag)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content[:cut])

    @classmethod
    def cut(cls, after: int) -> Step:
        """The connection breaks after so many bytes of the answer."""
        return lambda request, content: cls.serve(request, content, cut=after)

    @staticmethod
    def status(code: int, **headers: str) -> Step:
        """A status without a content."""

        def step(request: BaseHTTPRequestHandler, content: bytes) -> None:
            request.send_response(code)
            for name, value in headers.items():
                request.send_header(name, value)
            request.end_headers()

        return step


@pytest.fixture
def start_web() -> Iterator[Callable[[], Web]]:
    """Starts servers on localhost; they end with the test."""
    servers: list[ThreadingHTTPServer] = []

    def start() -> Web:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.removeprefix("/")
                web.seen.append((name, self.headers.get("Range")))
                if web.plan:
                    web.plan.pop(0)(self, web.files.get(name, b""))
                elif name in web.files:
                    web.serve(self, web.files[name])
                else:
                    self.send_error(404)

            def log_message(self, *_: object) -> None:
                """No chatter."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        web = Web(f"http://127.0.0.1:{server.server_port}")
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return web

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def web(start_web: Callable[[], Web]) -> Web:
    """One server on localhost."""
    return start_web()
