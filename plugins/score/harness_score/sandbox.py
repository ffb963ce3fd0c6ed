"""Programs of a model, run apart: a process each, confined by the kernel before the first line of it is read.

What it gets: a folder of its own that is thrown away, an empty environment, so many seconds and megabytes. What it
does not: a socket, another process, a signal to one, a file written elsewhere, a right of root. Landlock keeps
files, seccomp the rest; where the kernel has not both, nothing is run and `refusal` says why. Reading files is
allowed, and nothing that was read can leave. A program passes if it comes to its end: it must be alive to say the
word that it was not told, so leaving early is no way to pass.
"""

from __future__ import annotations

import ctypes
import functools
import json
import os
import platform
import secrets
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

UNCONFINED = 97  # the exit code of a process that could not be confined
MEGABYTES = 1024
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# System calls that no program needs which is only judged, by number on x86_64 and on arm64 (-1: it has none).
DENIED = {
    "socket": (41, 198), "fork": (57, -1), "vfork": (58, -1), "execve": (59, 221), "execveat": (322, 281),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240), "pidfd_send_signal": (424, 424),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "keyctl": (250, 219),
    "add_key": (248, 217), "request_key": (249, 218), "setrlimit": (160, 164), "unshare": (272, 97),
    "setns": (308, 268), "mount": (165, 40), "chroot": (161, 51), "truncate": (76, 45), "chmod": (90, -1),
    "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, -1), "fchown": (93, 55),
    "lchown": (94, -1), "fchownat": (260, 54), "utime": (132, -1), "utimes": (235, -1), "futimesat": (261, -1),
    "utimensat": (280, 88), "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16), "shmget": (29, 194),
    "semget": (64, 190), "msgget": (68, 186), "mq_open": (240, 180),
}  # fmt: skip
CLONE, CLONE3, KILL, TGKILL, PRLIMIT = (56, 220), (435, 435), (62, 129), (234, 131), (302, 261)
EPERM, ENOSYS, THREAD = 1, 38, 0x10000


@dataclass(frozen=True)
class Program:
    """Parts that are run one after another in one namespace; none can take away from a later one."""

    parts: tuple[str, ...]


def passing(programs: Sequence[Program], seconds: float, megabytes: int = MEGABYTES) -> list[bool]:
    """Run each program confined, as many at once as there are processors; say which came to their end in time.

    Raises OSError, with `refusal`'s sentence, where programs cannot be confined.
    """
    if reason := refusal():
        raise OSError(reason)
    workers = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda one: _passes(one, seconds, megabytes), programs))


@functools.cache
def refusal() -> str:
    """Say why programs cannot be confined on this machine; "" where they can."""
    if sys.platform != "linux" or platform.machine() not in ARCHITECTURES:
        return f"programs are confined by Linux on x86_64 or arm64, and this is {sys.platform} on {platform.machine()}"
    code, said = _run(Program(("",)), 20.0, MEGABYTES)
    return said.strip() or "the confined process did not start" if code == UNCONFINED or code is None else ""


def _passes(program: Program, seconds: float, megabytes: int) -> bool:
    word = secrets.token_hex(16)
    code, said = _run(program, seconds, megabytes, word)
    if code == UNCONFINED and said.strip():
        raise OSError(said.strip())
    return said.strip() == word


def _run(program: Program, seconds: float, megabytes: int, word: str = "") -> tuple[int | None, str]:
    """Return a program's exit code, None where it was still going, and what its process said of it."""
    told = json.dumps({"parts": program.parts, "seconds": seconds, "megabytes": megabytes, "word": word})
    with tempfile.TemporaryDirectory(prefix="program-", ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen(
            [sys.executable, "-I", "-B", str(Path(__file__).resolve())],
            cwd=folder,
            env={},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            said, _ = process.communicate(told, timeout=3 * seconds + 2)  # of which it may compute `seconds`
            code: int | None = process.returncode
        except subprocess.TimeoutExpired:
            said, code = "", None
        finally:
            process.kill()
            process.communicate()
    return code, said


# From here on: the confined process, which imports nothing of the house.


def main() -> None:
    """Read a program, give up what it must not have, run it, and say the word if it came to its end."""
    told = json.loads(sys.stdin.read())
    voice = os.dup(1)
    try:
        confine(Path.cwd(), told["seconds"], told["megabytes"])
    except OSError as error:
        os.write(voice, f"{error.strerror or error}".encode())
        os._exit(UNCONFINED)
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    names: dict[str, object] = {"__name__": "__program__"}
    for number, part in enumerate(told["parts"]):
        exec(compile(part, f"<part {number}>", "exec", dont_inherit=True), names)
    os.write(voice, told["word"].encode())
    os._exit(0)


def confine(folder: Path, seconds: float, megabytes: int) -> None:
    """Give up for good what a program must not have. Raises OSError where the kernel does not do it."""
    import resource

    size = megabytes * 2**20
    for limit, most in (
        (resource.RLIMIT_CPU, int(seconds) + 1), (resource.RLIMIT_AS, size), (resource.RLIMIT_FSIZE, 2**24),
        (resource.RLIMIT_NOFILE, 64), (resource.RLIMIT_CORE, 0),
    ):  # fmt: skip
        resource.setrlimit(limit, (most, most))
    libc = ctypes.CDLL(None, use_errno=True)
    _call(libc.prctl(1, signal.SIGKILL, 0, 0, 0), "this process cannot be made to end with its parent")
    _call(libc.prctl(38, 1, 0, 0, 0), "this kernel cannot take rights away for good (no_new_privs)")
    _call(libc.capset(struct.pack("II", 0x20080522, 0), bytes(24)), "rights of root cannot be given up")
    _keep_files(libc, folder)
    _keep_calls(libc)


def _call(returned: int, otherwise: str) -> int:
    if returned < 0:
        raise OSError(f"{otherwise}: {os.strerror(ctypes.get_errno())}")
    return returned


def _keep_files(libc: ctypes.CDLL, folder: Path) -> None:
    """Let files be written, made and removed in `folder` alone (Landlock)."""
    version = _call(
        libc.syscall(444, None, ctypes.c_size_t(0), 1),
        "this kernel has no Landlock, which keeps programs from files",
    )
    write, rest = 1 << 1, 0x1FF0  # to write to a file; to remove and to make files of every kind
    handled = write | rest | (1 << 13 if version >= 2 else 0) | (1 << 14 if version >= 3 else 0)
    rules = _call(
        libc.syscall(444, struct.pack("Q", handled), ctypes.c_size_t(8), 0), "Landlock takes no rules"
    )
    for path, allowed in ((folder, handled), (Path(os.devnull), write)):
        place = os.open(path, os.O_PATH)
        rule = ctypes.create_string_buffer(struct.pack("=Qi", allowed, place))
        _call(libc.syscall(445, rules, 1, rule, 0), "Landlock takes no rule")
        os.close(place)
    _call(libc.syscall(446, rules, 0), "Landlock does not hold this process")
    os.close(rules)


def _keep_calls(libc: ctypes.CDLL) -> None:
    """Refuse the system calls that no judged program needs (seccomp)."""
    machine = platform.machine()
    column = list(ARCHITECTURES).index(machine)
    allow, kill, refuse, absent = 0x7FFF0000, 0x80000000, 0x00050000 | EPERM, 0x00050000 | ENOSYS
    load, equal, at_least, any_bit, say = 0x20, 0x15, 0x35, 0x45, 0x06

    def first(argument: int) -> tuple[int, int, int, int]:
        return load, 0, 0, 16 + 8 * argument  # its lower half

    own = os.getpid()
    lines = [(load, 0, 0, 4), (equal, 1, 0, ARCHITECTURES[machine]), (say, 0, 0, kill), (load, 0, 0, 0)]
    if machine == "x86_64":
        lines += [(at_least, 0, 1, 0x40000000), (say, 0, 0, refuse)]  # the same calls under other numbers
    for numbers in DENIED.values():
        if numbers[column] >= 0:
            lines += [(equal, 0, 1, numbers[column]), (say, 0, 0, refuse)]
    lines += [(equal, 0, 1, CLONE3[column]), (say, 0, 0, absent)]
    for numbers, argument, test in (
        (CLONE, 0, (any_bit, 0, 1, THREAD)),  # a thread, and no process
        (KILL, 0, (equal, 0, 1, own)),
        (TGKILL, 0, (equal, 0, 1, own)),
        (PRLIMIT, 2, (equal, 0, 1, 0)),  # limits may be read
    ):
        lines += [
            (equal, 0, 4, numbers[column]),
            first(argument),
            test,
            (say, 0, 0, allow),
            (say, 0, 0, refuse),
        ]
    lines.append((say, 0, 0, allow))
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
    program = struct.pack("HxxxxxxP", len(lines), ctypes.addressof(code))
    _call(
        libc.prctl(22, 2, ctypes.c_char_p(program), 0, 0),
        "this kernel has no seccomp, which keeps programs from the net",
    )


if __name__ == "__main__":
    main()
