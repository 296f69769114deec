// Any text is either refused with a message or describes a model whose sizes fit together.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "loader/families/hf_config.h"
#include "loader/text/text.h"

namespace {

void Check(bool possible) {
  if (!possible) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto model = mneme::loader::ParseHfConfig(text, "fuzz", {"ignored"});
  if (!model.ok()) {
    const std::string message(model.status().message());
    Check(message.size() <= mneme::loader::kMaxMessageBytes);
    Check(mneme::loader::FirstInvalidUtf8(message) < 0);
    return 0;
  }
  const mneme::loader::AttentionDescription& attention = model->attention;
  Check(model->dim > 0 && model->layers > 0 && model->vocab_size > 0);
  Check(attention.head_dim > 0 && attention.head_dim % 2 == 0);
  Check(attention.kv_heads > 0 && attention.heads % attention.kv_heads == 0);
  Check(attention.windows.empty() ||
        attention.windows.size() == static_cast<size_t>(model->layers));
  Check(attention.rope.frequencies.empty() ||
        attention.rope.frequencies.size() == static_cast<size_t>(attention.head_dim / 2));
  for (const float frequency : attention.rope.frequencies) Check(std::isfinite(frequency));
  Check(std::isfinite(attention.rope.scale) && attention.rope.scale > 0);
  if (model->moe.has_value()) {
    Check(model->moe->top_k > 0 && model->moe->top_k <= model->moe->experts);
    Check(model->moe->hidden > 0);
  } else {
    Check(model->ffn.hidden > 0);
  }
  return 0;
}
