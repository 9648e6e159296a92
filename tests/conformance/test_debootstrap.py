"""The base made here takes its packages from where this host takes its own, and is removed without its mounts."""

from pathlib import Path

from conformance.stacks.containers.debootstrap import mirrors, mounts_below, sources

TARGETS = """\
Debian|Debian|http://mirror.example/debian
Debian|Debian|http://other.example/debian
Debian|Debian-Security|http://mirror.example/debian-security
cloud|cloud|https://cloud.example/apt
"""


def test_the_hosts_own_mirrors_are_found_by_label() -> None:
    assert mirrors(TARGETS) == {
        "Debian": "http://mirror.example/debian",
        "Debian-Security": "http://mirror.example/debian-security",
    }


def test_a_host_of_another_distribution_has_none() -> None:
    assert mirrors("Ubuntu|Ubuntu|http://mirror.example/ubuntu\n") == {}
    assert mirrors("") == {}


def test_security_updates_are_taken_where_the_host_says_where() -> None:
    own = "http://mirror.example/debian"
    without = f"deb {own} trixie main\ndeb {own} trixie-updates main\n"
    assert sources("trixie", own, {"Debian": own}) == without
    assert sources("trixie", own, mirrors(TARGETS)) == f"{without}deb {own}-security trixie-security main\n"


def test_what_is_mounted_inside_is_found_deepest_first() -> None:
    mounts = (
        "proc /proc proc rw 0 0\n"
        "proc /var/tmp/k2-debootstrap-x/proc proc rw 0 0\n"
        "binfmt /var/tmp/k2-debootstrap-x/proc/sys/fs/binfmt_misc binfmt rw 0 0\n"
        "tmpfs /var/tmp/k2-debootstrap-xy tmpfs rw 0 0\n"
    )
    assert mounts_below(Path("/var/tmp/k2-debootstrap-x"), mounts) == [
        "/var/tmp/k2-debootstrap-x/proc/sys/fs/binfmt_misc",
        "/var/tmp/k2-debootstrap-x/proc",
    ]
