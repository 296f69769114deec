#include "loader/tokenizer/nfc.h"

#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>
#include <unicode/stringpiece.h>
#include <unicode/uniset.h>
#include <unicode/unistr.h>

#include <algorithm>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "loader/tokenizer/message.h"
#include "loader/tokenizer/utf8.h"

namespace mneme::loader::tokenizer_internal {

namespace {

// ICU inserts each mark into the run before it, which is quadratic in a run that is far out of
// order. Longer runs than this are sorted before ICU sees them; text has a handful of marks.
constexpr size_t kLongRun = 64;

struct Normalizers {
  std::unique_ptr<icu::UnicodeSet> unicode9;
  std::unique_ptr<icu::FilteredNormalizer2> nfc, nfd;
  absl::Status status;

  Normalizers() {
    UErrorCode error = U_ZERO_ERROR;
    unicode9 = std::make_unique<icu::UnicodeSet>(u"[:age=9.0:]", error);
    const icu::Normalizer2* full_nfc = icu::Normalizer2::getNFCInstance(error);
    const icu::Normalizer2* full_nfd = icu::Normalizer2::getNFDInstance(error);
    if (U_FAILURE(error)) {
      status = absl::InternalError(Message("ICU: ", u_errorName(error)));
      return;
    }
    unicode9->freeze();
    nfc = std::make_unique<icu::FilteredNormalizer2>(*full_nfc, *unicode9);
    nfd = std::make_unique<icu::FilteredNormalizer2>(*full_nfd, *unicode9);
  }

  static const Normalizers& Get() {
    static const Normalizers normalizers;
    return normalizers;
  }
};

bool IsAscii(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<uint8_t>(c) < 0x80; });
}

// A character that is reordered: one with a combining class, or one that decomposes into such
// (U+0F73 has none itself).
bool IsMark(const icu::FilteredNormalizer2& nfd, char32_t c) {
  if (c < 0x300) return false;
  if (nfd.getCombiningClass(static_cast<UChar32>(c)) != 0) return true;
  return c == 0x0F73 || c == 0x0F75 || c == 0x0F81;
}

// Appends a run of marks, decomposed and in canonical order, which changes no normal form.
void AppendSorted(const icu::FilteredNormalizer2& nfd, std::string_view run, std::string* out) {
  std::vector<std::pair<uint8_t, char32_t>> marks;
  icu::UnicodeString decomposed;
  while (!run.empty()) {
    const Utf8Char c = DecodeUtf8(run);
    run.remove_prefix(c.size);
    if (!nfd.getDecomposition(static_cast<UChar32>(c.code_point), decomposed)) {
      decomposed = static_cast<UChar32>(c.code_point);
    }
    for (int32_t i = 0; i < decomposed.length(); i = decomposed.moveIndex32(i, 1)) {
      const UChar32 mark = decomposed.char32At(i);
      marks.push_back({nfd.getCombiningClass(mark), static_cast<char32_t>(mark)});
    }
  }
  std::stable_sort(marks.begin(), marks.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const auto& [combining_class, mark] : marks) AppendUtf8(mark, out);
}

// `text` with its long runs of marks in canonical order.
std::string WithLongRunsSorted(const icu::FilteredNormalizer2& nfd, std::string_view text) {
  std::string out;
  out.reserve(text.size());
  size_t run = 0, run_length = 0, at = 0;
  const auto end_run = [&] {
    if (run_length > kLongRun) {
      AppendSorted(nfd, text.substr(run, at - run), &out);
    } else {
      out.append(text.substr(run, at - run));
    }
    run_length = 0;
  };
  while (at < text.size()) {
    const Utf8Char c = DecodeUtf8(text.substr(at));
    if (IsMark(nfd, c.code_point)) {
      if (run_length++ == 0) run = at;
    } else {
      if (run_length > 0) end_run();
      out.append(text.substr(at, c.size));
    }
    at += c.size;
  }
  if (run_length > 0) end_run();
  return out;
}

}  // namespace

absl::Status NormalizeNfc(std::string* text) {
  if (IsAscii(*text)) return absl::OkStatus();
  const Normalizers& normalizers = Normalizers::Get();
  if (!normalizers.status.ok()) return normalizers.status;
  UErrorCode error = U_ZERO_ERROR;
  if (normalizers.nfc->isNormalizedUTF8(
          icu::StringPiece(text->data(), static_cast<int32_t>(text->size())), error) &&
      U_SUCCESS(error)) {
    return absl::OkStatus();
  }
  const std::string sorted = WithLongRunsSorted(*normalizers.nfd, *text);
  std::string out;
  icu::StringByteSink<std::string> sink(&out, static_cast<int32_t>(sorted.size()));
  error = U_ZERO_ERROR;
  normalizers.nfc->normalizeUTF8(
      0, icu::StringPiece(sorted.data(), static_cast<int32_t>(sorted.size())), sink, nullptr,
      error);
  if (U_FAILURE(error)) return absl::InternalError(Message("ICU: ", u_errorName(error)));
  *text = std::move(out);
  return absl::OkStatus();
}

}  // namespace mneme::loader::tokenizer_internal
