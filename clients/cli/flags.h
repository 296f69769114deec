// Command-line flags: one table per verb, filled by hand-written Add calls, that parses arguments
// and prints its own help.
//
//   --name value    --name=value    --switch    --switch=false    -- (only positionals follow)
//
// A flag's value is whatever argument follows it, so `--top-k -1` works. A lone `-` is a
// positional. Flags and positionals may stand in any order. Errors (INVALID_ARGUMENT) name the flag
// and the value; an unknown flag's message suggests the nearest known one. Not thread safe; nothing
// here reads the environment.
#ifndef MNEME_CLIENTS_CLI_FLAGS_H_
#define MNEME_CLIENTS_CLI_FLAGS_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace mneme::cli {

// Both ends belong to it.
template <class T>
struct Range {
  T least;
  T most;
};

class FlagTable {
 public:
  // verb: "generate". arguments: what follows it in the usage line besides flags, e.g. "[PROMPT]".
  // about: what the verb does, in a few lines.
  FlagTable(std::string verb, std::string arguments, std::string about);

  // Registers a flag `name` (without dashes). The target's value at this moment is the default and
  // is shown in the help. Targets are owned by the caller and outlive Parse().
  void Add(std::string name, bool* target, std::string help);
  void Add(std::string name, std::string* target, std::string meta, std::string help);
  void Add(std::string name, int32_t* target, std::string meta, std::string help);
  void Add(std::string name, int64_t* target, std::string meta, std::string help);
  void Add(std::string name, double* target, std::string meta, std::string help);
  // Numbers of a range; any other value is refused with it. The help tells the range.
  void Add(const std::string& name, int32_t* target, Range<int32_t> range, const std::string& meta,
           const std::string& help);
  void Add(const std::string& name, int64_t* target, Range<int64_t> range, const std::string& meta,
           const std::string& help);
  void Add(const std::string& name, double* target, Range<double> range, const std::string& meta,
           const std::string& help);
  // Flags that may be absent.
  void Add(std::string name, std::optional<std::string>* target, std::string meta,
           std::string help);
  void Add(std::string name, std::optional<int32_t>* target, std::string meta, std::string help);
  void Add(std::string name, std::optional<uint64_t>* target, std::string meta, std::string help);
  void Add(std::string name, std::optional<float>* target, std::string meta, std::string help);
  // Each occurrence appends.
  void Add(std::string name, std::vector<std::string>* target, std::string meta,
           const std::string& help);
  // Each occurrence appends the integers of its value, separated by commas or spaces.
  void Add(std::string name, std::vector<int32_t>* target, std::string meta,
           const std::string& help);

  // Fills the targets. `--help` anywhere before `--` sets help_requested() and ends the parsing.
  absl::Status Parse(std::span<const std::string> arguments);
  bool help_requested() const { return help_requested_; }
  // What is no flag, in order.
  const std::vector<std::string>& positionals() const { return positionals_; }
  // Whether the flag stood in the arguments. REQUIRES: it was added.
  bool given(absl::string_view name) const;
  // Usage, description and every flag with its default.
  std::string Help() const;
  const std::string& verb() const { return verb_; }

 private:
  struct Flag {
    std::string name;
    std::string meta;  // "" for a switch
    std::string help;
    std::string default_text;  // "" when there is none
    std::function<absl::Status(const std::string& value)> set;
    bool given = false;
  };

  void AddFlag(std::string name, std::string meta, std::string help, std::string default_text,
               std::function<absl::Status(const std::string&)> set);
  template <class T>
  void AddInRange(const std::string& name, T* target, Range<T> range, const std::string& meta,
                  const std::string& help);
  absl::Status ParseOne(std::span<const std::string> arguments, size_t* next);
  Flag* Find(absl::string_view name);
  absl::Status UnknownFlag(absl::string_view name) const;

  std::string verb_;
  std::string arguments_;
  std::string about_;
  std::vector<Flag> flags_;
  std::vector<std::string> positionals_;
  bool help_requested_ = false;
};

// The candidate nearest to `word` by edit distance, if it is near enough (a third of its length) to
// be what was meant.
std::optional<std::string> NearestWord(absl::string_view word,
                                       std::span<const std::string> candidates);

// Integers separated by commas or white space: "1 2,3". INVALID_ARGUMENT names the first that is
// none or does not fit.
absl::Status ParseIntegers(absl::string_view text, std::vector<int32_t>* out);

}  // namespace mneme::cli

#endif  // MNEME_CLIENTS_CLI_FLAGS_H_
