"""Shards: read by others' tar readers, the same bytes each time, and cut at any byte."""

from __future__ import annotations

import io
import tarfile

import pytest

from lqhq.runtime.synthesis.journal import row_line
from lqhq.runtime.synthesis.shard_file import read_samples, sample_bytes, tar_end

LONG = "ü" * 120
SAMPLES = [
    ({"name": "sub/a_0"}, b"one", b"two" * 300),
    ({"name": "b_1"}, b"x" * 512, None),
    ({"name": LONG}, b"", b""),
]


def archive(samples=SAMPLES):
    data = b"".join(sample_bytes(*sample) for sample in samples)
    return data + tar_end(len(data))


def test_it_is_a_plain_tar():
    with tarfile.open(fileobj=io.BytesIO(archive())) as tar:
        members = tar.getmembers()
        names = ["sub/a_0.lq.png", "sub/a_0.hq.png", "sub/a_0.json", "b_1.lq.png", "b_1.json"]
        assert [member.name for member in members] == [*names, f"{LONG}.lq.png", f"{LONG}.hq.png", f"{LONG}.json"]
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {(0, 0, 0, "", "", 0o644)}
        assert tar.extractfile("b_1.json").read() == row_line({"name": "b_1"})
    assert len(archive()) % tarfile.RECORDSIZE == 0


@pytest.mark.parametrize("size", [0, 512, 9216, 9728, 10240])
def test_its_end_fills_a_record(size):
    assert (size + len(tar_end(size))) % tarfile.RECORDSIZE == 0
    assert 1024 <= len(tar_end(size)) < 1024 + tarfile.RECORDSIZE


def test_samples_come_back(tmp_path):
    (tmp_path / "x.tar").write_bytes(archive())
    found = list(read_samples(tmp_path / "x.tar"))
    assert [(sample.row, sample.lq, sample.hq) for sample in found] == SAMPLES
    assert found[-1].end + len(tar_end(found[-1].end)) == len(archive())


def test_every_cut_leaves_the_whole_samples_before_it(tmp_path):
    data = archive(SAMPLES[:2])
    (tmp_path / "x.tar").write_bytes(data)
    ends = [sample.end for sample in read_samples(tmp_path / "x.tar")]
    inside = [end - 512 + len(row_line(row)) for end, (row, _, _) in zip(ends, SAMPLES, strict=False)]
    for cut in range(0, len(data), 131):
        (tmp_path / "x.tar").write_bytes(data[:cut])
        whole = sum(cut >= end for end in inside)
        assert [sample.row for sample in read_samples(tmp_path / "x.tar")] == [row for row, _, _ in SAMPLES[:whole]]


@pytest.mark.parametrize(
    "members",
    [
        [("a.json", b'{"name": "a"}')],
        [("a.lq.png", b""), ("a.json", b'{"name": "b"}')],
        [("a.lq.png", b""), ("a.json", b"[]")],
        [("a.lq.png", b""), ("a.json", b"{")],
    ],
)
def test_what_is_no_sample_ends_it(tmp_path, members):
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    assert list(read_samples(tmp_path / "x.tar")) == []


def test_a_link_is_no_sample(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        info = tarfile.TarInfo("a.lq.png")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/hostname"
        tar.addfile(info)
    assert list(read_samples(tmp_path / "x.tar")) == []
