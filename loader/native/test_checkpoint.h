// A small checkpoint with every kind of weight that a native folder packs in its own way, for the
// tests of this folder. No family reads it: it comes inspected.
#ifndef MNEME_LOADER_NATIVE_TEST_CHECKPOINT_H_
#define MNEME_LOADER_NATIVE_TEST_CHECKPOINT_H_

#include <string>

#include "loader/checkpoint/checkpoint.h"
#include "loader/native/manifest.h"

namespace mneme::loader {

// An empty folder of this name in the test's own.
std::string FreshFolder(const std::string& name);

// Some 20 MB in `directory`, which exists: a tied embedding, vectors of both dtypes, matrices of
// both, experts (gate and up in one tensor, down in one each), keys with both norms, a shuffle and
// a table of 5 pre-values and 18 values. A test failure when it cannot be written.
Checkpoint WriteTestCheckpoint(const std::string& directory);
// The same one once more, as its files are now.
Checkpoint OpenTestCheckpoint(const std::string& directory);

// All bytes of a file; a test failure when there is none.
std::string FileContents(const std::string& path);

// A test failure for each weight of `checkpoint` whose bytes in the native folder are not those
// that PackedWeights::Pack gives with `dtype`, and for each shard that the safetensors reader
// refuses.
void ExpectSameWeights(const Checkpoint& checkpoint, Manifest::DType dtype,
                       const std::string& native);

// A test failure where the two folders have other files or other bytes.
void ExpectSameFolders(const std::string& a, const std::string& b);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_NATIVE_TEST_CHECKPOINT_H_
