// What Oniguruma 6.9.8 reads otherwise than the library's 6.9.10, spelled so that it does not.
#ifndef MNEME_LOADER_TOKENIZER_REGEX_REWRITE_H_
#define MNEME_LOADER_TOKENIZER_REGEX_REWRITE_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace mneme::loader::tokenizer_internal {

// A pattern in Oniguruma's own syntax that means the same. Outside of brackets and comments:
//
//   \R                 an atomic group; 6.9.8 repeats its own \R wrongly (`\R+` on "\n\n"). Not
//                      in a look-behind, where both releases take it for \r\n only.
//   \p{Word}           \w, which has six characters of Latin 1 more than [\w]
//   (*FAIL)            (?!)
//   (*MISMATCH)        (?!)
//
// INVALID_ARGUMENT naming the construct for other callouts ((*COUNT), (?{...})), which are made to
// call code; for the options (?I) and (?L) and for a condition that is a pattern ((?(ab)c|d)),
// which 6.9.8 gets wrong. Anything else is copied, also what the engine will refuse.
absl::StatusOr<std::string> RewritePattern(std::string_view pattern);

}  // namespace mneme::loader::tokenizer_internal

#endif  // MNEME_LOADER_TOKENIZER_REGEX_REWRITE_H_
