// Any text: the patterns that are matched by hand give what Oniguruma gives.
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <vector>

#include "loader/text/text.h"
#include "loader/tokenizer/known_patterns.h"
#include "loader/tokenizer/regex.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using mneme::loader::tokenizer_internal::KnownPatterns;
  using mneme::loader::tokenizer_internal::Regex;
  using mneme::loader::tokenizer_internal::SearchBudget;
  using mneme::loader::tokenizer_internal::Span;

  static const std::vector<Regex>* const engines = [] {
    auto* compiled = new std::vector<Regex>();
    for (const auto& known : KnownPatterns()) {
      auto regex = Regex::Compile(known.regex);
      if (!regex.ok()) std::abort();
      compiled->push_back(*std::move(regex));
    }
    return compiled;
  }();

  std::string_view text(reinterpret_cast<const char*>(data), size);
  // What is in front of the first byte that is not UTF-8.
  if (const int64_t invalid = mneme::loader::FirstInvalidUtf8(text); invalid >= 0) {
    text = text.substr(0, static_cast<size_t>(invalid));
  }
  SearchBudget budget;
  for (size_t i = 0; i < engines->size(); ++i) {
    std::vector<Span> by_hand, by_engine;
    KnownPatterns()[i].find(text, &by_hand);
    if (!(*engines)[i].FindAll(text, &budget, &by_engine).ok()) continue;  // it gave up
    if (by_hand != by_engine) std::abort();
  }
  return 0;
}
