// A model's vocabulary: token contents and their ids.
#ifndef MNEME_LOADER_TOKENIZER_VOCABULARY_H_
#define MNEME_LOADER_TOKENIZER_VOCABULARY_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/statusor.h"
#include "loader/json/json_field.h"

namespace mneme::loader::tokenizer_internal {

// The highest id a file may use. Bounds the memory of tables that are indexed by id.
inline constexpr int64_t kMaxTokenId = (int64_t{1} << 22) - 1;

// Immutable; views stay valid when it moves.
class Vocabulary {
 public:
  // From an object {content: id}. Ids may have holes, but each stands once.
  static absl::StatusOr<Vocabulary> Build(const JsonField& object);

  std::optional<int32_t> Find(std::string_view token) const {
    const auto found = ids_.find(token);
    if (found == ids_.end()) return std::nullopt;
    return found->second;
  }
  // "" if there is none; Contains tells it from an empty token.
  std::string_view Token(int32_t id) const {
    return Contains(id) ? *tokens_[id] : std::string_view();
  }
  bool Contains(int32_t id) const {
    return id >= 0 && static_cast<size_t>(id) < tokens_.size() && tokens_[id].has_value();
  }
  int32_t size() const { return static_cast<int32_t>(ids_.size()); }       // number of tokens
  int32_t end_id() const { return static_cast<int32_t>(tokens_.size()); }  // highest id + 1

 private:
  std::unique_ptr<char[]> pool_;
  std::unordered_map<std::string_view, int32_t> ids_;
  std::vector<std::optional<std::string_view>> tokens_;
};

}  // namespace mneme::loader::tokenizer_internal

#endif  // MNEME_LOADER_TOKENIZER_VOCABULARY_H_
