// A JSON text as a flat tree: 32 bytes a value, strings in one pool, no recursion anywhere.
#ifndef MNEME_LOADER_JSON_JSON_DOCUMENT_H_
#define MNEME_LOADER_JSON_JSON_DOCUMENT_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace mneme::loader {

enum class JsonKind : uint8_t { kNull, kBool, kInteger, kNumber, kString, kArray, kObject };

// "a string", "an object", ...: for messages.
std::string_view JsonKindName(JsonKind kind);

class JsonValue;

// Owner of the values. Immutable after Parse; movable, which invalidates its JsonValues.
class JsonDocument {
 public:
  static constexpr int kMaxDepth = 32;
  // The largest published files have two million.
  static constexpr size_t kMaxValues = size_t{8} << 20;

  // INVALID_ARGUMENT naming origin and byte for what is not JSON, nested deeper than kMaxDepth, of
  // more than kMaxValues, not UTF-8 or an object with two members of one name.
  static absl::StatusOr<JsonDocument> Parse(std::string_view text, const std::string& origin);

  JsonValue root() const;

 private:
  friend class JsonValue;
  friend class JsonBuilder;
  static constexpr uint32_t kNone = UINT32_MAX;

  struct Node {
    JsonKind kind = JsonKind::kNull;
    // A string's first byte and size in the pool, or the number, or a container's first child.
    union {
      bool boolean;
      int64_t integer;
      double number;
      struct {
        uint32_t begin, size;
      } string;
      struct {
        uint32_t first, count;
      } children = {kNone, 0};
    };
    uint32_t next = kNone;  // the next value of the same container
    uint32_t name_begin = 0, name_size = 0;
  };

  std::vector<Node> nodes_;
  std::string pool_;
};

// A view of one value; as long as its document lives.
class JsonValue {
 public:
  JsonValue(const JsonDocument* document, uint32_t index) : document_(document), index_(index) {}

  JsonKind kind() const { return node().kind; }
  bool boolean() const { return node().boolean; }     // requires kBool
  int64_t integer() const { return node().integer; }  // requires kInteger
  double number() const {                             // requires kInteger or kNumber
    return kind() == JsonKind::kInteger ? static_cast<double>(node().integer) : node().number;
  }
  std::string_view string() const {  // requires kString
    return std::string_view(document_->pool_).substr(node().string.begin, node().string.size);
  }
  // The name of an object's member.
  std::string_view name() const {
    return std::string_view(document_->pool_).substr(node().name_begin, node().name_size);
  }

  // The members of an array or object in file order: for (auto v = x.first(); v.exists(); v =
  // v.next()). Requires kArray or kObject.
  JsonValue first() const { return JsonValue(document_, node().children.first); }
  JsonValue next() const { return JsonValue(document_, node().next); }
  bool exists() const { return index_ != JsonDocument::kNone; }
  uint32_t count() const { return node().children.count; }
  // The member of this name, or a value that does not exist. Linear. Requires kObject.
  JsonValue Find(std::string_view name) const;

 private:
  const JsonDocument::Node& node() const { return document_->nodes_[index_]; }
  const JsonDocument* document_;
  uint32_t index_;
};

inline JsonValue JsonDocument::root() const { return JsonValue(this, 0); }

}  // namespace mneme::loader

#endif  // MNEME_LOADER_JSON_JSON_DOCUMENT_H_
