#include "loader/families/made_up_checkpoint.h"

#include <algorithm>
#include <fstream>
#include <functional>
#include <numeric>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/tensor/tensor.h"
#include "loader/checkpoint/stored_tensor.h"
#include "nlohmann/json.hpp"

namespace mneme::loader {
namespace {

using Json = nlohmann::ordered_json;

// An odd number of values, so that no two rows of a matrix are the same.
constexpr int64_t kPatternValues = 1'000'003;

enum class Fill : uint8_t { kSmall, kOnes, kZeros, kPermutation };

struct Entry {
  std::string name;
  std::vector<int64_t> shape;
  Fill fill = Fill::kSmall;

  int64_t elements() const {
    return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
  }
  int64_t bytes() const { return elements() * (fill == Fill::kPermutation ? 8 : 2); }
};

std::string Config(const MadeUpSize& s) {
  return absl::StrCat(
      "model: {d_model: ", s.dim, ", n_heads: ", std::max<int64_t>(1, s.dim / 128),
      ", n_layers: ", s.layers, ", mlp_hidden_size: ", s.mlp_hidden,
      ",\n  activation_type: swiglu, block_type: sequential, rope: true, rope_theta: 10000,\n"
      "  attention_layer_norm: true, include_bias: false, layer_norm_type: rms,\n"
      "  bias_for_layer_norm: false, weight_tying: true, vocab_size: ",
      s.embedding_size, ", embedding_size: ", s.embedding_size,
      ",\n  max_sequence_length: ", s.max_sequence_length,
      ", mem_type: ultramem_v2, mem_insert_way: full,\n  mem_knum: ", s.keys,
      ", mem_kdim: ", s.key_dim, ", mem_vdim: ", s.value_dim, ", mem_pre_vdim: ", s.pre_value_dim,
      ", mem_knn: 32,\n  mem_head: 1, mem_share_ratio: ", 1.0 / static_cast<double>(s.layers),
      ", mem_value_expand_time: 1, mem_key_expand_time: 1,\n"
      "  mem_q_for_each_tucker_rank: true, eos_token_id: 0, pad_token_id: 1}\n");
}

void AddBlock(const MadeUpSize& s, int64_t layer, std::vector<Entry>* entries) {
  const std::string block = absl::StrCat("transformer.blocks.", layer, ".");
  const int64_t head = s.dim / std::max<int64_t>(1, s.dim / 128);
  entries->push_back({block + "q_norm.weight", {head}, Fill::kOnes});
  entries->push_back({block + "k_norm.weight", {head}, Fill::kOnes});
  entries->push_back({block + "attn_norm.weight", {s.dim}, Fill::kOnes});
  entries->push_back({block + "ff_norm.weight", {s.dim}, Fill::kOnes});
  entries->push_back({block + "att_proj.weight", {3 * s.dim, s.dim}});
  entries->push_back({block + "attn_out.weight", {s.dim, s.dim}});
  entries->push_back({block + "ff_proj.weight", {s.mlp_hidden, s.dim}});
  entries->push_back({block + "ff_out.weight", {s.dim, s.mlp_hidden / 2}});
  const std::string memory = absl::StrCat("transformer.mem_blocks.", layer, ".");
  entries->push_back({memory + "query_norm.weight", {s.key_dim}, Fill::kOnes});
  entries->push_back({memory + "keys_norm.weight", {s.key_dim}, Fill::kOnes});
  entries->push_back({memory + "keys", {1, 2, s.keys, s.key_dim, 2}});
  entries->push_back({memory + "shuffle_index", {s.keys * s.keys}, Fill::kPermutation});
  for (const char* core : {"tucker_core.0", "tucker_core.1"}) {
    entries->push_back({memory + core, {1, 2, 2}});
  }
  for (const char* direction : {"tucker_core_u", "tucker_core_v"}) {
    entries->push_back({memory + direction, {1, 1, 1, 2}, Fill::kOnes});
  }
  entries->push_back({memory + "query_proj.weight", {4 * s.key_dim, s.dim}});
  entries->push_back({memory + "values_proj.weight", {s.dim, s.value_dim}});
  entries->push_back({memory + "pre_values_proj.weight", {s.pre_value_dim, s.dim}});
}

std::vector<Entry> Entries(const MadeUpSize& s) {
  // Permutations first, for their elements are the largest: offsets stay aligned.
  std::vector<Entry> entries;
  entries.push_back({"transformer.wte.weight", {s.embedding_size, s.dim}});
  entries.push_back({"transformer.ln_f.weight", {s.dim}, Fill::kOnes});
  for (int64_t layer = 0; layer < s.layers; ++layer) AddBlock(s, layer, &entries);
  const int64_t rows = s.keys * s.keys * s.layers;
  const std::string table = "transformer.full_memory_layer.";
  entries.push_back({table + "pre_values_for_look_up", {rows, s.pre_value_dim}, Fill::kZeros});
  entries.push_back({table + "values_for_look_up", {rows, s.value_dim}, Fill::kZeros});
  std::stable_partition(entries.begin(), entries.end(),
                        [](const Entry& entry) { return entry.fill == Fill::kPermutation; });
  return entries;
}

class Writer {
 public:
  explicit Writer(const std::string& path) : file_(path, std::ios::binary | std::ios::trunc) {
    pattern_.reserve(kPatternValues);
    uint32_t state = 1;
    for (int64_t i = 0; i < kPatternValues; ++i) {
      state = state * 1664525u + 1013904223u;
      const float value = (static_cast<float>(state >> 8) / 16777216.0f - 0.5f) * 0.04f;
      pattern_.push_back(kernels::ToBf16(value));
    }
  }

  void WriteText(const std::string& text) {
    file_.write(text.data(), static_cast<std::streamsize>(text.size()));
  }

  void Write(const Entry& entry) {
    const int64_t count = entry.elements();
    if (entry.fill == Fill::kZeros) {
      // A hole up to the last byte.
      file_.seekp(entry.bytes() - 1, std::ios::cur);
      file_.put('\0');
    } else if (entry.fill == Fill::kPermutation) {
      std::vector<int64_t> values(static_cast<size_t>(count));
      for (int64_t i = 0; i < count; ++i) values[static_cast<size_t>(i)] = count - 1 - i;
      WriteBytes(values.data(), count * 8);
    } else if (entry.fill == Fill::kOnes) {
      const std::vector<kernels::Bf16> ones(static_cast<size_t>(count), kernels::ToBf16(1.0f));
      WriteBytes(ones.data(), count * 2);
    } else {
      for (int64_t done = 0; done < count;) {
        const int64_t at = next_ % kPatternValues;
        const int64_t now = std::min(count - done, kPatternValues - at);
        WriteBytes(pattern_.data() + at, now * 2);
        done += now;
        next_ += now;
      }
    }
  }

  bool Close() {
    file_.close();
    return !file_.fail();
  }

 private:
  void WriteBytes(const void* bytes, int64_t count) {
    file_.write(static_cast<const char*>(bytes), count);
  }

  std::ofstream file_;
  std::vector<kernels::Bf16> pattern_;
  int64_t next_ = 0;
};

absl::Status WriteTensors(const std::vector<Entry>& entries, const std::string& path) {
  Json header = Json::object();
  int64_t offset = 0;
  for (const Entry& entry : entries) {
    header.push_back({entry.name,
                      {{"dtype", entry.fill == Fill::kPermutation ? "I64" : "BF16"},
                       {"shape", entry.shape},
                       {"data_offsets", {offset, offset + entry.bytes()}}}});
    offset += entry.bytes();
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  std::string length(8, '\0');
  for (int i = 0; i < 8; ++i) length[i] = static_cast<char>(uint64_t{text.size()} >> (8 * i));
  Writer writer(path);
  writer.WriteText(length + text);
  for (const Entry& entry : entries) writer.Write(entry);
  return writer.Close() ? absl::OkStatus()
                        : absl::UnavailableError(absl::StrCat(path, ": cannot write"));
}

// The characters that byte-level tokenizers write bytes as: themselves where they are printable,
// else those from 256 on, in order. All are below U+0800.
std::vector<std::string> ByteCharacters() {
  std::vector<std::string> characters;
  unsigned next = 256;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const bool printable = (byte > 32 && byte < 127) || (byte > 160 && byte != 173);
    const unsigned code = printable ? byte : next++;
    if (code < 128) {
      characters.emplace_back(1, static_cast<char>(code));
    } else {
      characters.push_back(
          {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))});
    }
  }
  return characters;
}

// Entry 256 + i is the pair of bytes (i / 256, i % 256).
std::string TokenizerText(int64_t entries) {
  const std::vector<std::string> bytes = ByteCharacters();
  Json vocabulary = Json::object();
  Json merges = Json::array();
  for (int64_t i = 0; i < entries; ++i) {
    if (i < 256) {
      vocabulary.push_back({bytes[static_cast<size_t>(i)], i});
      continue;
    }
    const std::string& left = bytes[static_cast<size_t>((i - 256) / 256)];
    const std::string& right = bytes[static_cast<size_t>((i - 256) % 256)];
    vocabulary.push_back({left + right, i});
    merges.push_back(absl::StrCat(left, " ", right));
  }
  const Json json = {{"version", "1.0"},
                     {"added_tokens", Json::array()},
                     {"normalizer", nullptr},
                     {"pre_tokenizer",
                      {{"type", "ByteLevel"},
                       {"add_prefix_space", false},
                       {"trim_offsets", false},
                       {"use_regex", true}}},
                     {"post_processor", nullptr},
                     {"decoder",
                      {{"type", "ByteLevel"},
                       {"add_prefix_space", false},
                       {"trim_offsets", false},
                       {"use_regex", true}}},
                     {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", merges}}}};
  return json.dump();
}

absl::Status WriteFile(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  return file.fail() ? absl::UnavailableError(absl::StrCat(path, ": cannot write"))
                     : absl::OkStatus();
}

}  // namespace

absl::Status WriteMadeUpCheckpoint(const MadeUpSize& size, const std::string& directory) {
  absl::Status status = WriteFile(directory + "/config.yaml", Config(size));
  if (status.ok()) {
    status = WriteFile(directory + "/tokenizer.json", TokenizerText(size.embedding_size));
  }
  if (!status.ok()) return status;
  return WriteTensors(Entries(size), directory + "/model.safetensors");
}

}  // namespace mneme::loader
