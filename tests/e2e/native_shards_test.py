"""The shards of `mneme convert`, read by the rules of the safetensors format alone: no code of ours."""

import json
import os
import struct
import subprocess
import tempfile
import unittest

MNEME = "clients/cli/mneme"
MODEL = "models/demo/ultramem"
BYTES = {"F32": 4, "BF16": 2, "I32": 4, "U8": 1}


def once(pairs):
    """Duplicate names are an error, where Python's dict takes the last."""
    names = [name for name, _ in pairs]
    assert len(names) == len(set(names)), names
    return dict(pairs)


def read_header(path):
    """(offset of the data, header, bytes of data), the length and the text checked."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        text = file.read(length)
    assert len(text) == length <= 100_000_000
    assert text[:1] == b"{"
    header = json.loads(text.decode("utf-8"), object_pairs_hook=once)
    return 8 + length, header, os.path.getsize(path) - 8 - length


class NativeShardsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        subprocess.run([MNEME, "convert", MODEL, cls.folder.name, "--shard-mb=4"], check=True)
        with open(os.path.join(cls.folder.name, "manifest.json"), encoding="utf-8") as file:
            cls.manifest = json.load(file)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def path(self, shard):
        return os.path.join(self.folder.name, shard["file"])

    def test_there_are_several(self):
        self.assertGreater(len(self.manifest["shards"]), 2)

    def test_tensors_follow_each_other_without_gaps(self):
        for shard in self.manifest["shards"]:
            data, header, size = read_header(self.path(shard))
            metadata = header.pop("__metadata__")
            self.assertTrue(all(isinstance(v, str) for v in metadata.values()))
            self.assertEqual(metadata["conversion"], self.manifest["conversion"])
            end = 0
            # In the order of the header, which is that of the offsets.
            for name, tensor in header.items():
                self.assertEqual(set(tensor), {"dtype", "shape", "data_offsets"})
                begin, after = tensor["data_offsets"]
                self.assertEqual(begin, end, name)
                elements = 1
                for length in tensor["shape"]:
                    elements *= length
                self.assertEqual(after - begin, elements * BYTES[tensor["dtype"]], name)
                end = after
            self.assertEqual(end, size)
            self.assertEqual(data % 4096, 0)

    def test_tensors_are_aligned(self):
        for shard in self.manifest["shards"]:
            data, header, _ = read_header(self.path(shard))
            for name, tensor in header.items():
                if name == "__metadata__" or name.startswith("padding."):
                    continue
                at = data + tensor["data_offsets"][0]
                self.assertEqual(at % 64, 0, name)
                if ".block." in name:
                    self.assertEqual(at % (2 << 20), 0, name)

    def test_the_manifest_says_where_each_lies(self):
        headers = [read_header(self.path(shard)) for shard in self.manifest["shards"]]
        listed = 0
        for weight in self.manifest["weights"]:
            for tensor in weight.get("tensors", []):
                data, header, _ = headers[tensor["shard"] - 1]
                begin, end = header[tensor["name"]]["data_offsets"]
                self.assertEqual(tensor["offset"], data + begin)
                self.assertEqual(tensor["bytes"], end - begin)
                self.assertEqual(weight["dtype"], header[tensor["name"]]["dtype"])
                listed += 1
        stored = sum(
            not name.startswith("padding.") and name != "__metadata__"
            for _, header, _ in headers
            for name in header
        )
        self.assertEqual(listed, stored)

    def test_padding_is_zero(self):
        for shard in self.manifest["shards"]:
            data, header, _ = read_header(self.path(shard))
            with open(self.path(shard), "rb") as file:
                for name, tensor in header.items():
                    if not name.startswith("padding."):
                        continue
                    begin, end = tensor["data_offsets"]
                    file.seek(data + begin)
                    self.assertEqual(file.read(end - begin).count(0), end - begin, name)


if __name__ == "__main__":
    unittest.main()
