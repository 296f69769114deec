// Normalization form C as the reference library has it: that of Unicode 9.
#ifndef MNEME_LOADER_TOKENIZER_NFC_H_
#define MNEME_LOADER_TOKENIZER_NFC_H_

#include <cstddef>
#include <string>

#include "absl/status/status.h"

namespace mneme::loader::tokenizer_internal {

// Characters younger than Unicode 9 are left alone and end the runs that are reordered: ICU's
// normalizer, filtered to [:age=9.0:]. Requires valid UTF-8. INTERNAL when ICU's data is missing.
// *leading is the text's, as normalizer.h defines it, then the result's.
absl::Status NormalizeNfc(std::string* text, size_t* leading = nullptr);

}  // namespace mneme::loader::tokenizer_internal

#endif  // MNEME_LOADER_TOKENIZER_NFC_H_
