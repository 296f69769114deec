// Compiling the chain of decoders, and the edits that are done once for every token.
#include <utility>

#include "loader/text/text.h"
#include "loader/tokenizer/byte_level.h"
#include "loader/tokenizer/decoder.h"
#include "loader/tokenizer/json_character.h"
#include "loader/tokenizer/message.h"
#include "loader/tokenizer/normalizer.h"
#include "loader/tokenizer/pre_tokenizer.h"
#include "loader/tokenizer/step_limit.h"
#include "loader/tokenizer/utf8.h"

namespace mneme::loader::tokenizer_internal {

namespace {

// All tokens together, edited.
constexpr size_t kMaxTextBytes = size_t{1} << 30;

// Takes up to `start` leading and `stop` trailing characters `c` off the text.
std::string_view Stripped(std::string_view text, char32_t c, int32_t start, int32_t stop) {
  for (; start > 0 && !text.empty(); --start) {
    const Utf8Char first = DecodeUtf8(text);
    if (first.code_point != c) break;
    text.remove_prefix(first.size);
  }
  for (; stop > 0 && !text.empty(); --stop) {
    const Utf8Char last = DecodeLastUtf8(text);
    if (last.code_point != c) break;
    text.remove_suffix(last.size);
  }
  return text;
}

}  // namespace

absl::StatusOr<Decoder> Decoder::Build(const JsonField& field) {
  Decoder decoder;
  if (field.IsNull()) {
    decoder.joins_with_space_ = true;
    return decoder;
  }
  if (absl::Status status = decoder.Add(field); !status.ok()) return status;
  return decoder;
}

absl::Status Decoder::WrongOrder(const JsonField& field, std::string_view name) const {
  return field.Unsupported(
      Message("the decoder ", name, " at this place"),
      "Replace, Strip, Metaspace, then ByteLevel or ByteFallback, then Fuse, then one Strip");
}

absl::Status Decoder::Add(const JsonField& field) {
  const absl::StatusOr<std::string_view> type = field.Type();
  if (!type.ok()) return type.status();
  if (*type == "Sequence") {
    if (absl::Status s = field.OnlyMembers({"type", "decoders"}); !s.ok()) return s;
    return field.Member("decoders").ForEach([this](const JsonField& f) { return Add(f); });
  }
  if (absl::Status s = CheckStepLimit(field, steps_++); !s.ok()) return s;
  if (*type == "Replace") return AddReplace(field);
  if (*type == "Strip") return AddStrip(field);
  if (*type == "Metaspace") return AddMetaspace(field);
  if (*type == "ByteLevel") {
    if (absl::Status s =
            field.OnlyMembers({"type", "add_prefix_space", "trim_offsets", "use_regex"});
        !s.ok()) {
      return s;
    }
    if (bytes_ != Bytes::kNone || fused_) return WrongOrder(field, *type);
    bytes_ = Bytes::kByteLevel;
    fused_ = true;
    return absl::OkStatus();
  }
  if (*type == "ByteFallback") {
    if (absl::Status s = field.OnlyMembers({"type"}); !s.ok()) return s;
    if (bytes_ != Bytes::kNone || fused_) return WrongOrder(field, *type);
    bytes_ = Bytes::kByteFallback;
    return absl::OkStatus();
  }
  if (*type == "Fuse") {
    if (absl::Status s = field.OnlyMembers({"type"}); !s.ok()) return s;
    fused_ = true;
    return absl::OkStatus();
  }
  return field.Unsupported(Message("the decoder ", Quote(*type)),
                           "ByteLevel, ByteFallback, Fuse, Strip, Replace, Metaspace, Sequence");
}

absl::Status Decoder::AddReplace(const JsonField& field) {
  if (absl::Status s = field.OnlyMembers({"type", "pattern", "content"}); !s.ok()) return s;
  if (bytes_ != Bytes::kNone || fused_) return WrongOrder(field, "Replace");
  const absl::StatusOr<std::string_view> content = field.Member("content").String();
  if (!content.ok()) return content.status();
  absl::StatusOr<Pattern> pattern = Pattern::Build(field.Member("pattern"));
  if (!pattern.ok()) return pattern.status();
  Edit edit;
  edit.kind = Edit::Kind::kReplace;
  edit.pattern.push_back(*std::move(pattern));
  edit.content = *content;
  edits_.push_back(std::move(edit));
  return absl::OkStatus();
}

absl::Status Decoder::AddStrip(const JsonField& field) {
  if (absl::Status s = field.OnlyMembers({"type", "content", "start", "stop"}); !s.ok()) return s;
  const absl::StatusOr<char32_t> character = ReadCharacter(field.Member("content"));
  if (!character.ok()) return character.status();
  const absl::StatusOr<int64_t> start = field.Member("start").Integer(INT32_MAX - 1);
  if (!start.ok()) return start.status();
  const absl::StatusOr<int64_t> stop = field.Member("stop").Integer(INT32_MAX - 1);
  if (!stop.ok()) return stop.status();
  if (!fused_ && bytes_ == Bytes::kNone) {
    Edit edit;
    edit.kind = Edit::Kind::kStrip;
    edit.character = *character;
    edit.start = static_cast<int32_t>(*start);
    edit.stop = static_cast<int32_t>(*stop);
    edits_.push_back(std::move(edit));
    return absl::OkStatus();
  }
  if (!fused_ || strips_text_) return WrongOrder(field, "Strip");
  strips_text_ = true;
  strip_character_ = *character;
  strip_start_ = static_cast<int32_t>(*start);
  strip_stop_ = static_cast<int32_t>(*stop);
  return absl::OkStatus();
}

absl::Status Decoder::AddMetaspace(const JsonField& field) {
  if (absl::Status s = field.OnlyMembers(
          {"type", "replacement", "prepend_scheme", "split", "add_prefix_space", "str_rep"});
      !s.ok()) {
    return s;
  }
  if (bytes_ != Bytes::kNone || fused_) return WrongOrder(field, "Metaspace");
  const absl::StatusOr<char32_t> character = ReadCharacter(field.Member("replacement"));
  if (!character.ok()) return character.status();
  const absl::StatusOr<MetaspacePrefix> prefix = ReadMetaspacePrefix(field);
  if (!prefix.ok()) return prefix.status();
  Edit edit;
  edit.kind = Edit::Kind::kMetaspace;
  edit.character = *character;
  edit.drops_in_first = *prefix != MetaspacePrefix::kNever;
  first_differs_ |= edit.drops_in_first;
  edits_.push_back(std::move(edit));
  return absl::OkStatus();
}

absl::StatusOr<std::string> Decoder::Edited(std::string_view content, bool first,
                                            SearchBudget* budget) const {
  std::string text(content);
  for (const Edit& edit : edits_) {
    // A pattern's search looks at the budget itself, but none of the other edits does.
    if (budget->IsSpent()) {
      return absl::ResourceExhaustedError(
          Message("the edits of all tokens take too long (at ", Quote(content), ")"));
    }
    switch (edit.kind) {
      case Edit::Kind::kReplace:
        if (absl::Status s = ReplaceAll(edit.pattern[0], edit.content, budget, &text); !s.ok()) {
          return s;
        }
        break;
      case Edit::Kind::kStrip:
        text = std::string(Stripped(text, edit.character, edit.start, edit.stop));
        break;
      case Edit::Kind::kMetaspace: {
        std::string replaced;
        for (std::string_view rest = text; !rest.empty();) {
          const Utf8Char c = DecodeUtf8(rest);
          if (c.code_point != edit.character) {
            replaced.append(rest.substr(0, c.size));
          } else if (!first || !edit.drops_in_first) {
            replaced.push_back(' ');
          }
          rest.remove_prefix(c.size);
        }
        text = std::move(replaced);
        break;
      }
    }
  }
  if (bytes_ != Bytes::kByteLevel) return text;
  std::string bytes;
  AppendByteLevelDecoded(text, &bytes);
  return bytes;
}

absl::Status Decoder::Index(int32_t count,
                            const std::function<std::optional<std::string_view>(int32_t)>& content,
                            SearchBudget* budget) {
  size_t size = 0;
  budget->Start();
  for (int32_t id = 0; id < count; ++id) {
    const std::optional<std::string_view> token = content(id);
    for (const bool first : {false, true}) {
      if (first && !first_differs_) continue;
      absl::StatusOr<std::string> text = std::string();
      if (token.has_value()) text = Edited(*token, first, budget);
      if (!text.ok()) return text.status();
      size += text->size();
      if (size > kMaxTextBytes) {
        return absl::InvalidArgumentError(
            Message("the decoder makes more than ", kMaxTextBytes, " bytes of the tokens"));
      }
      (first ? first_texts_ : texts_).Append(*text);
    }
  }
  return absl::OkStatus();
}

}  // namespace mneme::loader::tokenizer_internal
