// Any bytes as a tokenizer.json, and any text through what it gives.
//
// An input is the file, and, behind a zero byte if it has one, the text to encode.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "loader/text/text.h"
#include "loader/tokenizer/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using mneme::loader::FirstInvalidUtf8;
  using mneme::loader::StreamDecoder;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::string_view json = input.substr(0, input.find('\0'));
  std::string_view text = "A hacker's 12 \xE2\x82\xAC <s>  \xCC\x81\n\xE2\x96\x81x";
  if (json.size() < input.size()) text = input.substr(json.size() + 1).substr(0, 64);

  const auto tokenizer = mneme::loader::Tokenizer::Parse(json, "fuzz.json");
  if (!tokenizer.ok()) return 0;
  const auto ids = (*tokenizer)->Encode(text, true);
  if (!ids.ok()) return 0;
  for (const bool skip_special : {false, true}) {
    if (FirstInvalidUtf8((*tokenizer)->Decode(*ids, skip_special)) >= 0) std::abort();
    StreamDecoder decoder(tokenizer->get(), skip_special);
    std::string out;
    for (const int32_t id : *ids) decoder.Append(id, &out);
    decoder.Flush(&out);
    if (FirstInvalidUtf8(out) >= 0) std::abort();
  }
  return 0;
}
