// Any text is either refused with a message or describes a model whose sizes fit together.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "loader/families/olmo_config.h"
#include "loader/text/text.h"

namespace {

void CheckMemory(const mneme::loader::MemoryDescription& memory) {
  const bool possible =
      memory.heads > 0 && memory.key_dim > 0 && memory.key_count > 0 && memory.top_k > 0 &&
      memory.top_k <= memory.key_count && memory.value_dim % memory.cores == 0 &&
      memory.window > 0 && memory.window <= memory.slots && memory.pre_value_dim >= 0 &&
      2 * ((memory.heads - 1) / memory.heads_per_group) + 2 <= memory.query_chunks;
  if (!possible || memory.layers.empty()) __builtin_trap();
  if (memory.shuffled && memory.virtual_slots != memory.key_count * memory.key_count) {
    __builtin_trap();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto config = mneme::loader::ParseOlmoConfig(text, "fuzz");
  if (!config.ok()) {
    const std::string message(config.status().message());
    if (message.size() > mneme::loader::kMaxMessageBytes ||
        mneme::loader::FirstInvalidUtf8(message) >= 0) {
      __builtin_trap();
    }
    return 0;
  }
  const mneme::loader::ModelDescription& model = config->model;
  const mneme::loader::AttentionDescription& attention = model.attention;
  if (attention.heads * attention.head_dim != model.dim || attention.head_dim % 2 != 0 ||
      attention.heads % attention.kv_heads != 0 || model.ffn.hidden <= 0 || model.layers <= 0 ||
      model.embedding_size < model.vocab_size) {
    __builtin_trap();
  }
  if (model.memory.has_value()) CheckMemory(*model.memory);
  return 0;
}
