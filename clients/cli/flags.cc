#include "clients/cli/flags.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace mneme::cli {
namespace {

// Column where the flags' descriptions begin, and where lines end.
constexpr size_t kHelpColumn = 30;
constexpr size_t kLineWidth = 100;

template <class T>
absl::Status ParseNumber(const std::string& value, T* out) {
  const char* begin = value.data();
  const char* end = begin + value.size();
  if (value.size() > 1 && value[0] == '+') ++begin;
  T parsed{};
  const auto [rest, error] = std::from_chars(begin, end, parsed);
  if (error == std::errc::result_out_of_range) {
    return absl::InvalidArgumentError(absl::StrCat("'", value, "' is out of range"));
  }
  if (error != std::errc() || rest != end) {
    const char* kind = std::is_floating_point_v<T> ? "a number" : "an integer";
    return absl::InvalidArgumentError(absl::StrCat("'", value, "' is not ", kind));
  }
  if constexpr (std::is_floating_point_v<T>) {
    if (!std::isfinite(parsed)) {
      return absl::InvalidArgumentError(absl::StrCat("'", value, "' is not a finite number"));
    }
  }
  *out = parsed;
  return absl::OkStatus();
}

template <class T>
auto NumberSetter(T* target) {
  return [target](const std::string& value) { return ParseNumber(value, target); };
}

template <class T>
auto OptionalNumberSetter(std::optional<T>* target) {
  return [target](const std::string& value) {
    T parsed{};
    absl::Status status = ParseNumber(value, &parsed);
    if (status.ok()) *target = parsed;
    return status;
  };
}

// Appends `text` broken into lines that start at `indent` and end before kLineWidth.
void AppendWrapped(absl::string_view text, size_t indent, size_t column, std::string* out) {
  for (absl::string_view word : absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    if (column > indent && column + 1 + word.size() > kLineWidth) {
      absl::StrAppend(out, "\n", std::string(indent, ' '));
      column = indent;
    } else if (column > indent) {
      absl::StrAppend(out, " ");
      ++column;
    }
    absl::StrAppend(out, word);
    column += word.size();
  }
  absl::StrAppend(out, "\n");
}

size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substituted = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row[b.size()];
}

}  // namespace

std::optional<std::string> NearestWord(absl::string_view word,
                                       std::span<const std::string> candidates) {
  // Words far longer than any flag are never what was meant; this also bounds the work.
  constexpr size_t kLongestWord = 64;
  if (word.empty() || word.size() > kLongestWord) return std::nullopt;
  std::optional<std::string> nearest;
  size_t least = word.size() / 3 + 2;
  for (const std::string& candidate : candidates) {
    // What was typed may be a beginning: --temp, --max-tok.
    const bool beginning = word.size() >= 3 && absl::StartsWith(candidate, word);
    const size_t distance = beginning ? 1 : EditDistance(word, candidate);
    if (distance < least) {
      least = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

absl::Status ParseIntegers(absl::string_view text, std::vector<int32_t>* out) {
  for (absl::string_view word :
       absl::StrSplit(text, absl::ByAnyChar(", \t\n"), absl::SkipEmpty())) {
    int32_t value = 0;
    absl::Status status = ParseNumber(std::string(word), &value);
    if (!status.ok()) return status;
    out->push_back(value);
  }
  return absl::OkStatus();
}

FlagTable::FlagTable(std::string verb, std::string arguments, std::string about)
    : verb_(std::move(verb)), arguments_(std::move(arguments)), about_(std::move(about)) {}

void FlagTable::AddFlag(std::string name, std::string meta, std::string help,
                        std::string default_text,
                        std::function<absl::Status(const std::string&)> set) {
  flags_.push_back(
      {std::move(name), std::move(meta), std::move(help), std::move(default_text), std::move(set)});
}

void FlagTable::Add(std::string name, bool* target, std::string help) {
  AddFlag(std::move(name), "", std::move(help), *target ? "true" : "",
          [target](const std::string& value) {
            if (value != "true" && value != "false") {
              return absl::InvalidArgumentError(
                  absl::StrCat("'", value, "' is neither true nor false"));
            }
            *target = value == "true";
            return absl::OkStatus();
          });
}

void FlagTable::Add(std::string name, std::string* target, std::string meta, std::string help) {
  AddFlag(std::move(name), std::move(meta), std::move(help), *target,
          [target](const std::string& value) {
            *target = value;
            return absl::OkStatus();
          });
}

void FlagTable::Add(std::string name, int32_t* target, std::string meta, std::string help) {
  AddFlag(std::move(name), std::move(meta), std::move(help), absl::StrCat(*target),
          NumberSetter(target));
}

void FlagTable::Add(std::string name, int64_t* target, std::string meta, std::string help) {
  AddFlag(std::move(name), std::move(meta), std::move(help), absl::StrCat(*target),
          NumberSetter(target));
}

void FlagTable::Add(std::string name, double* target, std::string meta, std::string help) {
  AddFlag(std::move(name), std::move(meta), std::move(help), absl::StrCat(*target),
          NumberSetter(target));
}

template <class T>
void FlagTable::AddInRange(const std::string& name, T* target, Range<T> range,
                           const std::string& meta, const std::string& help) {
  AddFlag(name, meta, absl::StrCat(help, " From ", range.least, " to ", range.most, "."),
          absl::StrCat(*target), [target, range](const std::string& value) {
            T parsed{};
            absl::Status status = ParseNumber(value, &parsed);
            if (!status.ok()) return status;
            if (parsed < range.least || parsed > range.most) {
              return absl::InvalidArgumentError(
                  absl::StrCat(value, " is not in [", range.least, ", ", range.most, "]"));
            }
            *target = parsed;
            return status;
          });
}

void FlagTable::Add(const std::string& name, int32_t* target, Range<int32_t> range,
                    const std::string& meta, const std::string& help) {
  AddInRange(name, target, range, meta, help);
}

void FlagTable::Add(const std::string& name, int64_t* target, Range<int64_t> range,
                    const std::string& meta, const std::string& help) {
  AddInRange(name, target, range, meta, help);
}

void FlagTable::Add(const std::string& name, double* target, Range<double> range,
                    const std::string& meta, const std::string& help) {
  AddInRange(name, target, range, meta, help);
}

void FlagTable::Add(std::string name, std::optional<std::string>* target, std::string meta,
                    std::string help) {
  AddFlag(std::move(name), std::move(meta), std::move(help), target->value_or(""),
          [target](const std::string& value) {
            *target = value;
            return absl::OkStatus();
          });
}

void FlagTable::Add(std::string name, std::optional<int32_t>* target, std::string meta,
                    std::string help) {
  AddFlag(std::move(name), std::move(meta), std::move(help),
          target->has_value() ? absl::StrCat(**target) : "", OptionalNumberSetter(target));
}

void FlagTable::Add(std::string name, std::optional<uint64_t>* target, std::string meta,
                    std::string help) {
  AddFlag(std::move(name), std::move(meta), std::move(help),
          target->has_value() ? absl::StrCat(**target) : "", OptionalNumberSetter(target));
}

void FlagTable::Add(std::string name, std::optional<float>* target, std::string meta,
                    std::string help) {
  AddFlag(std::move(name), std::move(meta), std::move(help),
          target->has_value() ? absl::StrCat(**target) : "", OptionalNumberSetter(target));
}

void FlagTable::Add(std::string name, std::vector<std::string>* target, std::string meta,
                    const std::string& help) {
  AddFlag(std::move(name), std::move(meta), absl::StrCat(help, " May be repeated."), "",
          [target](const std::string& value) {
            target->push_back(value);
            return absl::OkStatus();
          });
}

void FlagTable::Add(std::string name, std::vector<int32_t>* target, std::string meta,
                    const std::string& help) {
  AddFlag(std::move(name), std::move(meta), absl::StrCat(help, " May be repeated."), "",
          [target](const std::string& value) { return ParseIntegers(value, target); });
}

FlagTable::Flag* FlagTable::Find(absl::string_view name) {
  const auto found =
      std::find_if(flags_.begin(), flags_.end(), [&](const Flag& f) { return f.name == name; });
  return found == flags_.end() ? nullptr : &*found;
}

bool FlagTable::given(absl::string_view name) const {
  return const_cast<FlagTable*>(this)->Find(name)->given;
}

absl::Status FlagTable::UnknownFlag(absl::string_view name) const {
  std::vector<std::string> names = {"help"};
  for (const Flag& flag : flags_) names.push_back(flag.name);
  std::string message = absl::StrCat("unknown flag --", name, " of `mneme ", verb_, "`");
  if (const auto nearest = NearestWord(name, names)) {
    absl::StrAppend(&message, "; did you mean --", *nearest, "?");
  } else {
    absl::StrAppend(&message, "; `mneme ", verb_, " --help` lists them");
  }
  return absl::InvalidArgumentError(message);
}

absl::Status FlagTable::ParseOne(std::span<const std::string> arguments, size_t* next) {
  const absl::string_view argument = arguments[(*next)++];
  // A single dash is accepted too: the flags have no one-letter forms that it could mean.
  absl::string_view name = argument.substr(absl::StartsWith(argument, "--") ? 2 : 1);
  std::optional<std::string> value;
  if (const size_t equals = name.find('='); equals != absl::string_view::npos) {
    value = std::string(name.substr(equals + 1));
    name = name.substr(0, equals);
  }
  if (name == "help" || name == "h") {
    help_requested_ = true;
    return absl::OkStatus();
  }
  Flag* flag = Find(name);
  if (flag == nullptr) return UnknownFlag(name);
  if (!value.has_value()) {
    if (flag->meta.empty()) {
      value = "true";
    } else if (*next == arguments.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--", name, " needs a value (", flag->meta, ")"));
    } else {
      value = arguments[(*next)++];
    }
  }
  const absl::Status status = flag->set(*value);
  if (!status.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("--", name, ": ", status.message()));
  }
  flag->given = true;
  return absl::OkStatus();
}

absl::Status FlagTable::Parse(std::span<const std::string> arguments) {
  bool only_positionals = false;
  size_t next = 0;
  while (next < arguments.size()) {
    const std::string& argument = arguments[next];
    if (only_positionals || argument.size() < 2 || argument[0] != '-') {
      positionals_.push_back(argument);
      ++next;
    } else if (argument == "--") {
      only_positionals = true;
      ++next;
    } else {
      const absl::Status status = ParseOne(arguments, &next);
      if (!status.ok() || help_requested_) return status;
    }
  }
  return absl::OkStatus();
}

std::string FlagTable::Help() const {
  std::string out = absl::StrCat("usage: mneme ", verb_, flags_.empty() ? "" : " [FLAGS]",
                                 arguments_.empty() ? "" : " ", arguments_, "\n\n");
  AppendWrapped(about_, 0, 0, &out);
  absl::StrAppend(&out, "\nflags:\n");
  const auto line = [&out](absl::string_view head, absl::string_view help) {
    std::string start = absl::StrCat("  --", head);
    if (start.size() + 2 > kHelpColumn) {
      absl::StrAppend(&out, start, "\n");
      start.clear();
    }
    start.resize(kHelpColumn, ' ');
    absl::StrAppend(&out, start);
    AppendWrapped(help, kHelpColumn, kHelpColumn, &out);
  };
  for (const Flag& flag : flags_) {
    std::string help = flag.help;
    if (!flag.default_text.empty()) absl::StrAppend(&help, " Default: ", flag.default_text, ".");
    line(absl::StrCat(flag.name, flag.meta.empty() ? "" : " ", flag.meta), help);
  }
  line("help", "Print this text.");
  return out;
}

}  // namespace mneme::cli
