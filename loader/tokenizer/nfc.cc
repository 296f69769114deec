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

// visit(part, combining class, is the first of its character's) for each part of the decomposition,
// in the order of the text.
template <class Visit>
void ForEachPart(const icu::FilteredNormalizer2& nfd, std::string_view text, const Visit& visit) {
  icu::UnicodeString decomposed;
  while (!text.empty()) {
    const Utf8Char c = DecodeUtf8(text);
    text.remove_prefix(c.size);
    if (!nfd.getDecomposition(static_cast<UChar32>(c.code_point), decomposed)) {
      decomposed = static_cast<UChar32>(c.code_point);
    }
    for (int32_t i = 0; i < decomposed.length(); i = decomposed.moveIndex32(i, 1)) {
      const UChar32 part = decomposed.char32At(i);
      visit(static_cast<char32_t>(part), nfd.getCombiningClass(part), i == 0);
    }
  }
}

// Appends a run of marks, decomposed and in canonical order, which changes no normal form.
void AppendSorted(const icu::FilteredNormalizer2& nfd, std::string_view run, std::string* out) {
  std::vector<std::pair<uint8_t, char32_t>> marks;
  ForEachPart(nfd, run, [&](char32_t mark, uint8_t combining_class, bool) {
    marks.push_back({combining_class, mark});
  });
  std::stable_sort(marks.begin(), marks.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const auto& [combining_class, mark] : marks) AppendUtf8(mark, out);
}

// Puts the long runs of marks into canonical order.
void SortLongRuns(const icu::FilteredNormalizer2& nfd, std::string* text) {
  std::string sorted;
  size_t copied = 0, run = 0, run_length = 0;
  const std::string_view all = *text;
  for (size_t at = 0; at <= all.size();) {
    const Utf8Char c = at < all.size() ? DecodeUtf8(all.substr(at)) : Utf8Char{0, 1};
    if (IsMark(nfd, c.code_point)) {
      if (run_length++ == 0) run = at;
    } else {
      if (run_length > kLongRun) {
        sorted.append(all.substr(copied, run - copied));
        AppendSorted(nfd, all.substr(run, at - run), &sorted);
        copied = at;
      }
      run_length = 0;
    }
    at += c.size;
  }
  if (copied == 0) return;
  sorted.append(all.substr(copied));
  *text = std::move(sorted);
}

// A character of the normal form, as the library aligns it with the text: with a change of 1 it is
// put in behind what is before it, else it stands for the next 1 - change characters.
struct Aligned {
  char32_t character;
  int change;
  uint8_t combining_class;
};

// The decomposition of `text`, in canonical order.
std::vector<Aligned> Decompose(const icu::FilteredNormalizer2& nfd, std::string_view text) {
  std::vector<Aligned> all;
  size_t run = 0;
  const auto sort_run = [&] {
    std::stable_sort(all.begin() + run, all.end(), [](const Aligned& a, const Aligned& b) {
      return a.combining_class < b.combining_class;
    });
    run = all.size();
  };
  ForEachPart(nfd, text, [&](char32_t part, uint8_t combining_class, bool is_first) {
    if (combining_class == 0) sort_run();
    all.push_back({part, is_first ? 0 : 1, combining_class});
  });
  sort_run();
  return all;
}

// Composes what Decompose gives. A character that is put into another adds what it stands for.
std::vector<Aligned> Compose(const icu::FilteredNormalizer2& nfc,
                             const std::vector<Aligned>& decomposed) {
  std::vector<Aligned> all;
  size_t starter = 0;
  bool has_starter = false;
  int last_class = -1;  // of the marks between, -1 if there are none
  for (const Aligned& next : decomposed) {
    if (has_starter && last_class < next.combining_class) {
      const UChar32 composed = nfc.composePair(static_cast<UChar32>(all[starter].character),
                                               static_cast<UChar32>(next.character));
      if (composed >= 0) {
        all[starter].character = static_cast<char32_t>(composed);
        all[starter].change += next.change - 1;
        continue;
      }
    }
    if (next.combining_class == 0) {
      starter = all.size();
      has_starter = true;
    }
    last_class = next.combining_class == 0 ? -1 : next.combining_class;
    all.push_back(next);
  }
  return all;
}

// *leading of the normal form. Only the text up to a boundary behind `leading` matters.
size_t LeadingOfNfc(const Normalizers& normalizers, std::string_view text, size_t leading) {
  if (leading == 0) return 0;
  size_t end = leading;
  while (end < text.size()) {
    const Utf8Char c = DecodeUtf8(text.substr(end));
    if (normalizers.nfc->hasBoundaryBefore(static_cast<UChar32>(c.code_point))) break;
    end += c.size;
  }
  size_t read = 0, written = 0;
  std::string character;
  for (const Aligned& next :
       Compose(*normalizers.nfc, Decompose(*normalizers.nfd, text.substr(0, end)))) {
    // One that is put in belongs to the byte before it.
    if (next.change > 0 ? read > leading : read >= leading) break;
    character.clear();
    AppendUtf8(next.character, &character);
    written += character.size();
    for (int count = 1 - next.change; count > 0; --count) {
      read += DecodeUtf8(text.substr(read)).size;
    }
  }
  return written;
}

}  // namespace

absl::Status NormalizeNfc(std::string* text, size_t* leading) {
  if (IsAscii(*text)) return absl::OkStatus();
  const Normalizers& normalizers = Normalizers::Get();
  if (!normalizers.status.ok()) return normalizers.status;
  if (leading != nullptr) *leading = LeadingOfNfc(normalizers, *text, *leading);
  SortLongRuns(*normalizers.nfd, text);
  const icu::StringPiece piece(text->data(), static_cast<int32_t>(text->size()));
  UErrorCode error = U_ZERO_ERROR;
  if (normalizers.nfc->isNormalizedUTF8(piece, error) && U_SUCCESS(error)) return absl::OkStatus();
  std::string out;
  icu::StringByteSink<std::string> sink(&out, piece.length());
  error = U_ZERO_ERROR;
  normalizers.nfc->normalizeUTF8(0, piece, sink, nullptr, error);
  if (U_FAILURE(error)) return absl::InternalError(Message("ICU: ", u_errorName(error)));
  *text = std::move(out);
  return absl::OkStatus();
}

}  // namespace mneme::loader::tokenizer_internal
