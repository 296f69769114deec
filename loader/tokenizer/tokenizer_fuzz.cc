// Any bytes as a tokenizer.json, and any text through what it gives.
//
// An input is the file, and, behind its last byte 0xFF if it has one, the text to encode. (No UTF-8
// has that byte, so little is lost of either; a zero byte, say, can stand in both.)
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "loader/text/text.h"
#include "loader/tokenizer/tokenizer.h"

namespace {

using mneme::loader::FirstInvalidUtf8;

// A message is short and printable, whatever the file says.
void CheckMessage(const absl::Status& status) {
  const std::string message(status.message());
  if (message.size() > mneme::loader::kMaxMessageBytes || FirstInvalidUtf8(message) >= 0) {
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using mneme::loader::StreamDecoder;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t end = input.rfind('\xFF');
  const std::string_view json = input.substr(0, end);
  std::string_view text = "A hacker's 12 \xE2\x82\xAC <s>  \xCC\x81\n\xE2\x96\x81x";
  if (end != input.npos) text = input.substr(end + 1).substr(0, 64);

  const auto tokenizer = mneme::loader::Tokenizer::Parse(json, "fuzz.json");
  if (!tokenizer.ok()) {
    CheckMessage(tokenizer.status());
    return 0;
  }
  if (json.find('\0') != json.npos) std::abort();  // no JSON has one
  const auto ids = (*tokenizer)->Encode(text, true);
  if (!ids.ok()) {
    CheckMessage(ids.status());
    return 0;
  }
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
