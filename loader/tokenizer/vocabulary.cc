#include "loader/tokenizer/vocabulary.h"

#include <algorithm>
#include <cstring>

#include "loader/text/text.h"
#include "loader/tokenizer/message.h"

namespace mneme::loader::tokenizer_internal {

absl::StatusOr<Vocabulary> Vocabulary::Build(const JsonField& object) {
  const JsonValue& value = object.value();
  if (!value.exists() || value.kind() != JsonKind::kObject) return object.Expected("an object");
  size_t bytes = 0;
  int64_t end_id = 0;
  for (JsonValue v = value.first(); v.exists(); v = v.next()) {
    if (v.kind() != JsonKind::kInteger || v.integer() < 0 || v.integer() > kMaxTokenId) {
      return object.Error(Message("the id of ", Quote(v.name()), ": expected an integer from 0 to ",
                                  kMaxTokenId, ", found ",
                                  v.kind() == JsonKind::kInteger
                                      ? Message(v.integer())
                                      : std::string(JsonKindName(v.kind()))));
    }
    bytes += v.name().size();
    end_id = std::max(end_id, v.integer() + 1);
  }

  Vocabulary vocabulary;
  vocabulary.pool_ = std::make_unique<char[]>(bytes);
  vocabulary.ids_.reserve(value.count());
  vocabulary.tokens_.resize(end_id);
  char* free = vocabulary.pool_.get();
  for (JsonValue v = value.first(); v.exists(); v = v.next()) {
    const std::string_view name = v.name();
    std::memcpy(free, name.data(), name.size());
    const std::string_view token(free, name.size());
    free += name.size();
    std::optional<std::string_view>& slot = vocabulary.tokens_[v.integer()];
    if (slot.has_value()) {
      return object.Error(
          Message("id ", v.integer(), " is given to both ", Quote(*slot), " and ", Quote(token)));
    }
    slot = token;
    vocabulary.ids_.emplace(token, static_cast<int32_t>(v.integer()));
  }
  return vocabulary;
}

}  // namespace mneme::loader::tokenizer_internal
