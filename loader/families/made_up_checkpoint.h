// A checkpoint that is nothing but numbers: to measure what files and their loading cost.
#ifndef MNEME_LOADER_FAMILIES_MADE_UP_CHECKPOINT_H_
#define MNEME_LOADER_FAMILIES_MADE_UP_CHECKPOINT_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace mneme::loader {

// Of an UltraMemV2 model with a memory layer at each block; by default the published 1B/7B size
// (shapes.h) of which only four blocks are there: 4.0 GB.
struct MadeUpSize {
  int64_t layers = 4;
  int64_t dim = 2048;  // 128 for each head
  int64_t mlp_hidden = 11264;
  int64_t embedding_size = 50304;
  int64_t keys = 612;  // squared, and times layers: the table's rows
  int64_t key_dim = 512;
  int64_t value_dim = 768;
  int64_t pre_value_dim = 256;
  int64_t max_sequence_length = 4096;
};

// Writes config.yaml, model.safetensors and tokenizer.json into the folder, which is there, over
// what is there. Weights are bf16, of small values; the value table is zeros that take no space on
// a disk that knows holes. The tokenizer is a byte-level BPE of as many entries as the embedding
// has: the bytes, then pairs of them. The system's errors name the file. REQUIRES: sizes that
// ParseOlmoConfig accepts, and 256 to 256 + 65536 rows of the embedding.
absl::Status WriteMadeUpCheckpoint(const MadeUpSize& size, const std::string& directory);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_FAMILIES_MADE_UP_CHECKPOINT_H_
