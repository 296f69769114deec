#include "loader/families/yaml_section.h"

#include <exception>
#include <sstream>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "loader/text/text.h"
#include "yaml-cpp/anchor.h"
#include "yaml-cpp/emitterstyle.h"
#include "yaml-cpp/eventhandler.h"
#include "yaml-cpp/exceptions.h"
#include "yaml-cpp/mark.h"
#include "yaml-cpp/parser.h"

namespace mneme::loader {
namespace {

// An alias stands for a copy of its scalar; longer ones could be copied often enough to hurt.
constexpr size_t kMaxAliasedBytes = 256;

class SectionHandler : public YAML::EventHandler {
 public:
  explicit SectionHandler(std::string section) : section_(std::move(section)) {}

  const std::string& error() const { return error_; }
  bool found() const { return found_; }
  ConfigSection& values() { return values_; }

  void OnDocumentStart(const YAML::Mark& /*mark*/) override {}
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Scalar(ConfigValue{ConfigValue::Kind::kNull, "", mark.line + 1}, anchor);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& text) override {
    // "?" is the tag of a plain scalar; only a plain one can mean null.
    const bool null = tag == "?" && (text == "null" || text == "Null" || text == "NULL" ||
                                     text == "~" || text.empty());
    const auto kind = null ? ConfigValue::Kind::kNull : ConfigValue::Kind::kScalar;
    Scalar(ConfigValue{kind, text, mark.line + 1}, anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto it = anchored_.find(anchor);
    if (it == anchored_.end()) {
      // Of a collection, or of a scalar too long to copy: of no use as a setting.
      Scalar(ConfigValue{ConfigValue::Kind::kCollection, "", mark.line + 1}, 0);
      return;
    }
    ConfigValue value = it->second;
    value.line = mark.line + 1;
    Scalar(std::move(value), 0);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& /*tag*/,
                       YAML::anchor_t /*anchor*/, YAML::EmitterStyle::value /*style*/) override {
    Open(/*map=*/false, mark);
  }
  void OnSequenceEnd() override { frames_.pop_back(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& /*tag*/, YAML::anchor_t /*anchor*/,
                  YAML::EmitterStyle::value /*style*/) override {
    Open(/*map=*/true, mark);
  }
  void OnMapEnd() override { frames_.pop_back(); }

 private:
  struct Frame {
    bool map;
    bool key_next;  // of a map: the next node is a key
    bool section;   // the wanted section
  };

  void Fail(int line, const std::string& what) {
    if (error_.empty()) error_ = absl::StrCat("line ", line, ": ", what);
  }

  // Accounts for a node in its parent. True when it is a key there.
  bool TakeKeyTurn() {
    if (frames_.empty() || !frames_.back().map) return false;
    const bool key = frames_.back().key_next;
    frames_.back().key_next = !key;
    return key;
  }

  void Scalar(ConfigValue value, YAML::anchor_t anchor) {
    if (anchor != 0 && value.text.size() <= kMaxAliasedBytes) anchored_[anchor] = value;
    const bool key = TakeKeyTurn();
    const bool top = frames_.size() == 1;
    if (!top && (frames_.empty() || !frames_.back().section)) return;
    if (key) {
      key_ = value.text;
      if (top && key_ == section_) {
        if (found_) Fail(value.line, absl::StrCat("duplicate key ", Quote(key_)));
        found_ = true;
      }
      return;
    }
    if (top) {
      if (key_ == section_) Fail(value.line, absl::StrCat(Quote(section_), " is no mapping"));
      return;
    }
    Keep(std::move(value));
  }

  void Open(bool map, const YAML::Mark& mark) {
    const bool key = TakeKeyTurn();
    const bool top = frames_.size() == 1;
    const bool inside = !frames_.empty() && frames_.back().section;
    if (key && (top || inside)) {
      key_.clear();
      if (inside) Fail(mark.line + 1, "a collection is used as a key");
    }
    const bool section = top && !key && key_ == section_ && found_;
    if (section && !map) Fail(mark.line + 1, absl::StrCat(Quote(section_), " is no mapping"));
    if (inside && !key) Keep(ConfigValue{ConfigValue::Kind::kCollection, "", mark.line + 1});
    frames_.push_back(Frame{map, true, section && map});
  }

  void Keep(ConfigValue value) {
    const int line = value.line;
    if (!values_.emplace(key_, std::move(value)).second) {
      Fail(line, absl::StrCat("duplicate key ", Quote(key_), " under ", Quote(section_)));
    }
  }

  std::string section_;
  std::string error_;
  bool found_ = false;
  std::vector<Frame> frames_;
  std::string key_;
  ConfigSection values_;
  std::map<YAML::anchor_t, ConfigValue> anchored_;
};

}  // namespace

absl::StatusOr<ConfigSection> ReadYamlSection(std::string_view text, const std::string& file,
                                              const std::string& section) {
  const auto malformed = [&file](const std::string& what) {
    return absl::InvalidArgumentError(absl::StrCat(file, ": ", what));
  };
  const int64_t invalid = FirstInvalidUtf8(text);
  if (invalid >= 0) return malformed(absl::StrCat("not UTF-8 at byte ", invalid));
  // YAML has no zero bytes, and yaml-cpp takes them for another encoding.
  const size_t zero = text.find('\0');
  if (zero != std::string_view::npos) return malformed(absl::StrCat("zero byte at byte ", zero));
  SectionHandler handler(section);
  // yaml-cpp reports errors by throwing; none of them leaves this function.
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    const bool read = parser.HandleNextDocument(handler);
    if (read && handler.error().empty() && parser.HandleNextDocument(handler)) {
      return malformed("more than one YAML document");
    }
  } catch (const YAML::Exception& error) {
    return malformed(absl::StrCat("line ", error.mark.line + 1, ": not YAML: ", Quote(error.msg)));
  } catch (const std::exception& error) {
    return malformed(absl::StrCat("not YAML: ", Quote(error.what())));
  }
  if (!handler.error().empty()) return malformed(handler.error());
  if (!handler.found()) return malformed(absl::StrCat("no top-level key ", Quote(section)));
  return std::move(handler.values());
}

}  // namespace mneme::loader
