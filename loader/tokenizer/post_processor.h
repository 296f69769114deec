// The "post_processor" of a tokenizer.json: the ids that stand around a text. TemplateProcessing,
// ByteLevel (which changes no ids) and sequences of them.
#ifndef MNEME_LOADER_TOKENIZER_POST_PROCESSOR_H_
#define MNEME_LOADER_TOKENIZER_POST_PROCESSOR_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "loader/json/json_field.h"

namespace mneme::loader::tokenizer_internal {

// Immutable and thread safe.
class PostProcessor {
 public:
  // A missing or null field adds nothing. Only the template of a single text is used.
  static absl::StatusOr<PostProcessor> Build(const JsonField& field);

  const std::vector<int32_t>& before() const { return before_; }
  const std::vector<int32_t>& behind() const { return behind_; }

 private:
  absl::Status Add(const JsonField& field);
  absl::Status AddTemplate(const JsonField& field);

  bool has_template_ = false;
  std::vector<int32_t> before_, behind_;
};

}  // namespace mneme::loader::tokenizer_internal

#endif  // MNEME_LOADER_TOKENIZER_POST_PROCESSOR_H_
