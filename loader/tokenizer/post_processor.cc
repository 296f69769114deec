#include "loader/tokenizer/post_processor.h"

#include <string>
#include <string_view>
#include <utility>

#include "loader/text/text.h"
#include "loader/tokenizer/message.h"
#include "loader/tokenizer/vocabulary.h"

namespace mneme::loader::tokenizer_internal {

namespace {

// Of a template's pieces, its special tokens and the ids they stand for. Published templates have
// two or three; every piece looks its token up by name, one after the other.
constexpr uint32_t kMaxTemplateParts = 1024;

absl::Status CheckParts(const JsonField& field, size_t count, std::string_view what) {
  if (count <= kMaxTemplateParts) return absl::OkStatus();
  return field.Error(Message(count, " ", what, "; at most ", kMaxTemplateParts, " are supported"));
}

// Appends the ids that the template's "special_tokens" gives the token of a piece
// {"SpecialToken": {"id": name}}.
absl::Status AppendSpecial(const JsonField& piece, const JsonField& special_tokens,
                           std::vector<int32_t>* ids) {
  if (absl::Status s = piece.OnlyMembers({"id", "type_id"}); !s.ok()) return s;
  const absl::StatusOr<std::string_view> name = piece.Member("id").String();
  if (!name.ok()) return name.status();
  if (!special_tokens.value().exists() || special_tokens.value().kind() != JsonKind::kObject) {
    return special_tokens.Expected("an object");
  }
  const JsonField token = special_tokens.Entry(*name);
  if (!token.value().exists()) {
    return piece.Error(Message("special_tokens has no ", Quote(*name)));
  }
  if (absl::Status s = token.OnlyMembers({"id", "ids", "tokens"}); !s.ok()) return s;
  return token.Member("ids").ForEach([&](const JsonField& id) {
    const absl::StatusOr<int64_t> value = id.Integer(kMaxTokenId);
    if (!value.ok()) return value.status();
    ids->push_back(static_cast<int32_t>(*value));
    return CheckParts(id, ids->size(), "ids on one side of the text");
  });
}

}  // namespace

absl::StatusOr<PostProcessor> PostProcessor::Build(const JsonField& field) {
  PostProcessor post_processor;
  if (field.IsNull()) return post_processor;
  if (absl::Status status = post_processor.Add(field); !status.ok()) return status;
  return post_processor;
}

absl::Status PostProcessor::Add(const JsonField& field) {
  const absl::StatusOr<std::string_view> type = field.Type();
  if (!type.ok()) return type.status();
  if (*type == "Sequence") {
    if (absl::Status s = field.OnlyMembers({"type", "processors"}); !s.ok()) return s;
    return field.Member("processors").ForEach([this](const JsonField& f) { return Add(f); });
  }
  if (*type == "ByteLevel") {
    // It trims offsets, which are not given out.
    return field.OnlyMembers({"type", "add_prefix_space", "trim_offsets", "use_regex"});
  }
  if (*type == "TemplateProcessing") return AddTemplate(field);
  return field.Unsupported(Message("the post-processor ", Quote(*type)),
                           "TemplateProcessing, ByteLevel, Sequence");
}

absl::Status PostProcessor::AddTemplate(const JsonField& field) {
  if (absl::Status s = field.OnlyMembers({"type", "single", "pair", "special_tokens"}); !s.ok()) {
    return s;
  }
  if (has_template_) return field.Unsupported("a second TemplateProcessing", "one");
  has_template_ = true;
  bool seen_text = false;
  const JsonField special_tokens = field.Member("special_tokens");
  const JsonField single = field.Member("single");
  for (const auto& [part, what] :
       {std::pair{&single, "pieces"}, std::pair{&special_tokens, "special tokens"}}) {
    const JsonValue& value = part->value();
    const bool counted =
        value.exists() && (value.kind() == JsonKind::kArray || value.kind() == JsonKind::kObject);
    if (!counted) continue;  // refused where it is read
    if (absl::Status s = CheckParts(*part, value.count(), what); !s.ok()) return s;
  }
  absl::Status status = single.ForEach([&](const JsonField& piece) -> absl::Status {
    if (absl::Status s = piece.OnlyMembers({"SpecialToken", "Sequence"}); !s.ok()) return s;
    if (piece.value().count() != 1) return piece.Expected("one of SpecialToken and Sequence");
    const JsonField special = piece.Member("SpecialToken");
    if (special.value().exists()) {
      return AppendSpecial(special, special_tokens, seen_text ? &behind_ : &before_);
    }
    const JsonField sequence = piece.Member("Sequence");
    if (absl::Status s = sequence.OnlyMembers({"id", "type_id"}); !s.ok()) return s;
    const absl::StatusOr<std::string_view> id = sequence.Member("id").String();
    if (!id.ok()) return id.status();
    if (*id != "A" || seen_text) {
      return sequence.Unsupported(Message("the text ", Quote(*id), seen_text ? " again" : ""),
                                  "\"A\", once");
    }
    seen_text = true;
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  if (!seen_text)
    return single.Error("the text itself, {\"Sequence\": {\"id\": \"A\"}}, is missing");
  return absl::OkStatus();
}

}  // namespace mneme::loader::tokenizer_internal
