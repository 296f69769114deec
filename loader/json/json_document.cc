#include "loader/json/json_document.h"

#include <algorithm>
#include <exception>
#include <functional>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "loader/text/text.h"

namespace mneme::loader {

std::string_view JsonKindName(JsonKind kind) {
  switch (kind) {
    case JsonKind::kNull:
      return "null";
    case JsonKind::kBool:
      return "true or false";
    case JsonKind::kInteger:
      return "an integer";
    case JsonKind::kNumber:
      return "a number";
    case JsonKind::kString:
      return "a string";
    case JsonKind::kArray:
      return "an array";
    case JsonKind::kObject:
      return "an object";
  }
  return "?";
}

// Receives the parser's events. A method that returns false ends the parse; `error` says why.
class JsonBuilder final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit JsonBuilder(JsonDocument* document) : document_(document) {}

  bool null() override { return Add(Node{}); }
  bool boolean(bool value) override {
    Node node = OfKind(JsonKind::kBool);
    node.boolean = value;
    return Add(node);
  }
  bool number_integer(number_integer_t value) override {
    Node node = OfKind(JsonKind::kInteger);
    node.integer = value;
    return Add(node);
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (value > static_cast<uint64_t>(INT64_MAX)) return AddNumber(static_cast<double>(value));
    return number_integer(static_cast<int64_t>(value));
  }
  bool number_float(number_float_t value, const string_t&) override { return AddNumber(value); }
  bool string(string_t& value) override {
    Node node = OfKind(JsonKind::kString);
    node.string = {Store(value), static_cast<uint32_t>(value.size())};
    return Add(node);
  }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return Open(JsonKind::kObject); }
  bool start_array(std::size_t) override { return Open(JsonKind::kArray); }
  bool key(string_t& value) override {
    name_begin_ = Store(value);
    name_size_ = static_cast<uint32_t>(value.size());
    return true;
  }
  bool end_object() override {
    const bool unique = NamesAreUnique();
    open_.pop_back();
    return unique;
  }
  bool end_array() override {
    open_.pop_back();
    return true;
  }
  bool parse_error(std::size_t position, const std::string& token,
                   const nlohmann::detail::exception& e) override {
    std::string_view what = e.what();
    // The library's text ends in the cause: "...: syntax error while parsing value -
    // unexpected...".
    if (const size_t at = what.find("syntax error"); at != what.npos) what = what.substr(at);
    error = absl::StrCat("not JSON at byte ", position, " (near ", Quote(token),
                         "): ", Quote(what.substr(0, 200)));
    return false;
  }

  std::string error;

 private:
  using Node = JsonDocument::Node;

  static Node OfKind(JsonKind kind) {
    Node node;
    node.kind = kind;
    return node;
  }

  uint32_t Store(const std::string& value) {
    const uint32_t begin = static_cast<uint32_t>(document_->pool_.size());
    document_->pool_ += value;
    return begin;
  }

  bool AddNumber(double value) {
    Node node = OfKind(JsonKind::kNumber);
    node.number = value;
    return Add(node);
  }

  // Adds a value to the container at hand.
  bool Add(const Node& value) {
    if (document_->nodes_.size() >= JsonDocument::kMaxValues) {
      error = absl::StrCat("more than ", JsonDocument::kMaxValues, " values");
      return false;
    }
    const uint32_t index = static_cast<uint32_t>(document_->nodes_.size());
    Node& node = document_->nodes_.emplace_back(value);
    if (!open_.empty()) {
      Container& container = open_.back();
      Node& parent = document_->nodes_[container.index];
      if (parent.kind == JsonKind::kObject) {
        node.name_begin = name_begin_;
        node.name_size = name_size_;
      }
      if (container.last == JsonDocument::kNone) {
        parent.children.first = index;
      } else {
        document_->nodes_[container.last].next = index;
      }
      ++parent.children.count;
      container.last = index;
    }
    return true;
  }

  bool Open(JsonKind kind) {
    if (open_.size() >= JsonDocument::kMaxDepth) {
      error = absl::StrCat("nested deeper than ", JsonDocument::kMaxDepth, " levels");
      return false;
    }
    const uint32_t index = static_cast<uint32_t>(document_->nodes_.size());
    if (!Add(OfKind(kind))) return false;
    open_.push_back({index, JsonDocument::kNone});
    return true;
  }

  // Compares hashes first: a vocabulary has 10^5 names.
  bool NamesAreUnique() {
    hashes_.clear();
    const JsonValue object(document_, open_.back().index);
    for (JsonValue v = object.first(); v.exists(); v = v.next()) {
      hashes_.push_back({std::hash<std::string_view>()(v.name()), v.name()});
    }
    std::sort(hashes_.begin(), hashes_.end());
    for (size_t i = 1; i < hashes_.size(); ++i) {
      if (hashes_[i - 1] == hashes_[i]) {
        error = absl::StrCat("two members named ", Quote(hashes_[i].second), " in one object");
        return false;
      }
    }
    return true;
  }

  struct Container {
    uint32_t index, last;
  };
  JsonDocument* document_;
  std::vector<Container> open_;
  uint32_t name_begin_ = 0, name_size_ = 0;
  std::vector<std::pair<size_t, std::string_view>> hashes_;
};

absl::StatusOr<JsonDocument> JsonDocument::Parse(std::string_view text, const std::string& origin) {
  if (text.size() >= UINT32_MAX) {
    return absl::InvalidArgumentError(
        absl::StrCat(origin, ": ", text.size(), " bytes; at most 4294967294 are read"));
  }
  // The JSON parser takes a zero byte for the end of its input and would not see what follows it.
  if (const size_t zero = text.find('\0'); zero != text.npos) {
    return absl::InvalidArgumentError(
        absl::StrCat(origin, ": not JSON at byte ", zero + 1, ": a zero byte"));
  }
  JsonDocument document;
  JsonBuilder builder(&document);
  bool parsed = false;
  try {
    parsed = nlohmann::json::sax_parse(text.begin(), text.end(), &builder);
  } catch (const std::exception& e) {
    return absl::ResourceExhaustedError(absl::StrCat(origin, ": ", e.what()));
  }
  if (!parsed || document.nodes_.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(origin, ": ", builder.error));
  }
  return document;
}

JsonValue JsonValue::Find(std::string_view name) const {
  JsonValue v = first();
  while (v.exists() && v.name() != name) v = v.next();
  return v;
}

}  // namespace mneme::loader
