#include "loader/tokenizer/json_document.h"

#include <algorithm>
#include <exception>
#include <functional>
#include <nlohmann/json.hpp>
#include <utility>

#include "loader/text/text.h"
#include "loader/tokenizer/message.h"

namespace mneme::loader::tokenizer_internal {

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

  bool null() override {
    Add(JsonKind::kNull);
    return true;
  }
  bool boolean(bool value) override {
    Add(JsonKind::kBool).boolean = value;
    return true;
  }
  bool number_integer(number_integer_t value) override {
    Add(JsonKind::kInteger).integer = value;
    return true;
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (value > static_cast<uint64_t>(INT64_MAX)) {
      Add(JsonKind::kNumber).number = static_cast<double>(value);
    } else {
      Add(JsonKind::kInteger).integer = static_cast<int64_t>(value);
    }
    return true;
  }
  bool number_float(number_float_t value, const string_t&) override {
    Add(JsonKind::kNumber).number = value;
    return true;
  }
  bool string(string_t& value) override {
    const uint32_t begin = Store(value);
    Add(JsonKind::kString).string = {begin, static_cast<uint32_t>(value.size())};
    return true;
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
    error = Message("not JSON at byte ", position, " (near ", Quote(token),
                    "): ", Quote(what.substr(0, 200)));
    return false;
  }

  std::string error;

 private:
  uint32_t Store(const std::string& value) {
    const uint32_t begin = static_cast<uint32_t>(document_->pool_.size());
    document_->pool_ += value;
    return begin;
  }

  JsonDocument::Node& Add(JsonKind kind) {
    const uint32_t index = static_cast<uint32_t>(document_->nodes_.size());
    JsonDocument::Node& node = document_->nodes_.emplace_back();
    node.kind = kind;
    if (!open_.empty()) {
      Container& container = open_.back();
      JsonDocument::Node& parent = document_->nodes_[container.index];
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
    return node;
  }

  bool Open(JsonKind kind) {
    if (open_.size() >= JsonDocument::kMaxDepth) {
      error = Message("nested deeper than ", JsonDocument::kMaxDepth, " levels");
      return false;
    }
    const uint32_t index = static_cast<uint32_t>(document_->nodes_.size());
    Add(kind).children = {JsonDocument::kNone, 0};
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
        error = Message("two members named ", Quote(hashes_[i].second), " in one object");
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
        Message(origin, ": ", text.size(), " bytes; at most 4294967294 are read"));
  }
  JsonDocument document;
  JsonBuilder builder(&document);
  bool parsed = false;
  try {
    parsed = nlohmann::json::sax_parse(text.begin(), text.end(), &builder);
  } catch (const std::exception& e) {
    return absl::ResourceExhaustedError(Message(origin, ": ", e.what()));
  }
  if (!parsed || document.nodes_.empty()) {
    return absl::InvalidArgumentError(Message(origin, ": ", builder.error));
  }
  return document;
}

JsonValue JsonValue::Find(std::string_view name) const {
  JsonValue v = first();
  while (v.exists() && v.name() != name) v = v.next();
  return v;
}

}  // namespace mneme::loader::tokenizer_internal
