// Typed reading of a config section. The first thing wrong is kept; after it every getter returns
// its default, so a family reads all its fields in a row and asks once whether they were right.
#ifndef MNEME_LOADER_FAMILIES_CONFIG_FIELDS_H_
#define MNEME_LOADER_FAMILIES_CONFIG_FIELDS_H_

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "loader/families/config_value.h"

namespace mneme::loader {

class ConfigFields {
 public:
  // Inclusive bounds of a whole number.
  struct Range {
    int64_t min = 0;
    int64_t max = 0;
  };

  // Messages call a field "`file`: `section`.`name`"; without the section where it has no name.
  ConfigFields(std::string file, std::string section, ConfigSection values);

  // The value, or `absent` when there is no such key. null counts as wrong, except for Optional*.
  int64_t Int(const std::string& name, int64_t absent, Range range);
  bool Bool(const std::string& name, bool absent);
  // Finite and in (0, max].
  double Positive(const std::string& name, double absent, double max);
  std::string Choice(const std::string& name, const std::string& absent,
                     std::initializer_list<const char*> choices);
  std::string Text(const std::string& name, const std::string& absent);
  // nullopt when the key is absent or null.
  std::optional<int64_t> OptionalInt(const std::string& name, Range range);
  std::optional<bool> OptionalBool(const std::string& name);
  std::optional<double> OptionalPositive(const std::string& name, double max);
  // Finite and in [0, max].
  std::optional<double> OptionalNonNegative(const std::string& name, double max);
  // Empty when the key is absent or null.
  std::vector<int64_t> IntList(const std::string& name, Range range);
  std::vector<std::string> TextList(const std::string& name);

  // The values of a list, or the one value; empty when the key is absent or null.
  std::vector<int64_t> IntOrList(const std::string& name, Range range);

  bool has(const std::string& name) const { return values_.count(name) != 0; }
  bool is_null(const std::string& name) const;
  // Accepts a key without looking at its value.
  void Ignore(const std::string& name) { ignored_.insert(name); }
  // Says that the caller reads the key by other means.
  void MarkRead(const std::string& name) { read_.insert(name); }
  // Keys that nothing has read or ignored yet.
  std::set<std::string> Unread() const;
  // Refuses such keys, all in one message and in place of an earlier one, for a misspelled name
  // explains other errors; but accepts those whose `prefix` + key is in `ignored`
  // (--ignore-config-key). Refuses keys in `ignored` that were read.
  void RefuseUnread(const std::set<std::string>& ignored, const std::string& prefix);

  // Records an error of field `name` unless there is one already.
  void Refuse(const std::string& name, const std::string& why);
  // The same, in place of one recorded before.
  void RefuseInstead(const std::string& name, const std::string& why);
  const absl::Status& status() const { return status_; }

 private:
  // The scalar of `name`, or nullptr when it is absent, null (*null is set) or wrong (recorded).
  const ConfigValue* Scalar(const std::string& name, bool* null);
  // As Scalar; null is an error.
  const ConfigValue* Required(const std::string& name);
  int64_t ParseInt(const std::string& name, const ConfigValue& value, Range range);
  bool ParseBool(const std::string& name, const ConfigValue& value);
  double ParsePositive(const std::string& name, const ConfigValue& value, double max);
  // Any finite number.
  std::optional<double> ParseNumber(const std::string& name, const ConfigValue& value);
  // The items of a list; empty when it is absent, null or no list (recorded).
  const std::vector<ConfigValue>& List(const std::string& name);

  std::string file_;
  std::string section_;
  ConfigSection values_;
  std::set<std::string> read_;
  std::set<std::string> ignored_;
  absl::Status status_;
};

}  // namespace mneme::loader

#endif  // MNEME_LOADER_FAMILIES_CONFIG_FIELDS_H_
