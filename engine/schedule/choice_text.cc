#include "engine/schedule/choice_text.h"

#include <utility>

namespace mneme::schedule {

ChoiceText::ChoiceText(std::unique_ptr<TextStream> stream, std::span<const std::string> stops,
                       bool include_stop)
    : stream_(std::move(stream)),
      matcher_(stops),
      searches_(stream_ != nullptr && !stops.empty()),
      include_stop_(include_stop) {
  if (searches_) piece_.reserve(256);
}

void ChoiceText::Echo(int32_t token_id, std::string* out) {
  if (stream_ != nullptr) stream_->Append(token_id, out);
}

int ChoiceText::Append(int32_t token_id, bool search, std::string* out) {
  if (stream_ == nullptr) return -1;
  if (!searches_) {
    stream_->Append(token_id, out);
    return -1;
  }
  piece_.clear();
  stream_->Append(token_id, &piece_);
  if (search) return matcher_.Append(piece_, include_stop_, out);
  matcher_.Bypass(piece_, out);
  return -1;
}

void ChoiceText::Flush(std::string* out) {
  if (stream_ == nullptr) return;
  piece_.clear();
  stream_->Flush(&piece_);
  matcher_.Bypass(piece_, out);
}

}  // namespace mneme::schedule
