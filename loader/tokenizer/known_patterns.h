// Published patterns that are matched by hand, in time linear in the text and without the engine's
// limits. They give what Oniguruma gives: known_patterns_test compares both on 10^6 random strings,
// on every character and on every golden text. Encoding whole texts with the patterns of GPT-2 and
// Llama-3 is about twice as fast (docs/tokenizers.md); `\s+$` is here because a run of blanks that
// no line end follows takes the engine quadratic time.
#ifndef MNEME_LOADER_TOKENIZER_KNOWN_PATTERNS_H_
#define MNEME_LOADER_TOKENIZER_KNOWN_PATTERNS_H_

#include <span>
#include <string_view>
#include <vector>

#include "loader/tokenizer/regex.h"

namespace mneme::loader::tokenizer_internal {

// Appends the matches in a text (valid UTF-8, under 2^31 bytes), as Regex::FindAll does.
using MatchFunction = void (*)(std::string_view text, std::vector<Span>* matches);

struct KnownPattern {
  std::string_view name;
  std::string_view regex;
  MatchFunction find;
};

// GPT-2's (of GPT-NeoX and OLMo, too): what ByteLevel uses unless told otherwise.
inline constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
void FindGpt2(std::string_view text, std::vector<Span>* matches);

// All of them: GPT-2's, Llama-3's, Qwen's, and DeepSeek's `\s+$`.
std::span<const KnownPattern> KnownPatterns();

// The function for exactly this pattern, or null.
MatchFunction FindKnownPattern(std::string_view regex);

}  // namespace mneme::loader::tokenizer_internal

#endif  // MNEME_LOADER_TOKENIZER_KNOWN_PATTERNS_H_
