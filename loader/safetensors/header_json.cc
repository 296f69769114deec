#include "loader/safetensors/header_json.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "loader/safetensors/safetensors_header.h"
#include "loader/text/text.h"
#include "nlohmann/json.hpp"

namespace mneme::loader {
namespace {

// States are named after what encloses the next event. Every event that a state does not expect
// ends the parse, so nesting never exceeds four levels whatever the text is.
class HeaderHandler : public nlohmann::json_sax<nlohmann::json> {
 public:
  HeaderHandler(std::map<std::string, HeaderEntry>* entries,
                std::map<std::string, std::string>* metadata)
      : entries_(entries), metadata_(metadata) {}

  const absl::Status& status() const { return status_; }

  bool null() override { return Unexpected("null"); }
  bool boolean(bool value) override { return Unexpected(value ? "true" : "false"); }
  bool binary(binary_t& /*value*/) override { return Unexpected("binary data"); }

  bool number_integer(number_integer_t value) override {
    if (state_ != State::kArray) return Unexpected(absl::StrCat(value));
    return Fail(absl::StrCat(Where(), ": ", value, " is negative"));
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (state_ != State::kArray) return Unexpected(absl::StrCat(value));
    if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return Fail(absl::StrCat(Where(), ": ", value, " is too large"));
    }
    const size_t limit = field_ == Field::kShape ? static_cast<size_t>(kMaxDimensions) : 2;
    if (numbers_.size() == limit) {
      return Fail(absl::StrCat(Where(), ": more than ", limit, " numbers"));
    }
    numbers_.push_back(static_cast<int64_t>(value));
    return true;
  }

  bool number_float(number_float_t /*value*/, const string_t& text) override {
    if (state_ != State::kArray) return Unexpected(Shown(text));
    return Fail(absl::StrCat(Where(), ": ", Shown(text), " is fractional or too large"));
  }

  bool string(string_t& value) override {
    if (state_ == State::kMetadata) {
      if (!metadata_->emplace(key_, value).second) {
        return Fail(absl::StrCat("__metadata__: duplicate key ", Quote(key_)));
      }
      if (static_cast<int64_t>(metadata_->size()) > kMaxMetadata) {
        return Fail(absl::StrCat("__metadata__: more than ", kMaxMetadata, " entries"));
      }
      return true;
    }
    if (state_ == State::kTensor && field_ == Field::kDType) {
      entry_.dtype = std::move(value);
      return true;
    }
    return Unexpected(Quote(value));
  }

  bool start_object(std::size_t /*elements*/) override {
    switch (state_) {
      case State::kStart:
        state_ = State::kTop;
        return true;
      case State::kTop:
        if (name_ == "__metadata__") {
          if (metadata_seen_) return Fail("duplicate name \"__metadata__\"");
          metadata_seen_ = true;
          state_ = State::kMetadata;
          return true;
        }
        if (static_cast<int64_t>(entries_->size()) >= kMaxTensors) {
          return Fail(absl::StrCat("more than ", kMaxTensors, " tensors"));
        }
        state_ = State::kTensor;
        entry_ = HeaderEntry{};
        seen_ = 0;
        return true;
      default:
        return Unexpected("an object");
    }
  }

  bool key(string_t& value) override {
    if (state_ == State::kTop) {
      name_ = std::move(value);
    } else if (state_ == State::kMetadata) {
      key_ = std::move(value);
    } else {
      return Select(value);
    }
    return true;
  }

  bool end_object() override {
    if (state_ == State::kTensor) {
      if (seen_ != kAllFields) {
        const Field missing = (seen_ & Bit(Field::kDType)) == 0   ? Field::kDType
                              : (seen_ & Bit(Field::kShape)) == 0 ? Field::kShape
                                                                  : Field::kOffsets;
        return Fail(absl::StrCat("tensor ", Quote(name_), ": no ", Name(missing)));
      }
      if (!entries_->emplace(name_, std::move(entry_)).second) {
        return Fail(absl::StrCat("duplicate tensor name ", Quote(name_)));
      }
    }
    state_ = State::kTop;
    return true;
  }

  bool start_array(std::size_t /*elements*/) override {
    if (state_ != State::kTensor || field_ == Field::kDType) return Unexpected("an array");
    state_ = State::kArray;
    numbers_.clear();
    return true;
  }

  bool end_array() override {
    if (field_ == Field::kShape) {
      entry_.shape = numbers_;
    } else {
      if (numbers_.size() != 2) {
        return Fail(absl::StrCat(Where(), ": ", numbers_.size(), " numbers instead of 2"));
      }
      entry_.begin = numbers_[0];
      entry_.end = numbers_[1];
    }
    state_ = State::kTensor;
    return true;
  }

  bool parse_error(std::size_t position, const std::string& /*last_token*/,
                   const nlohmann::detail::exception& /*error*/) override {
    return Fail(absl::StrCat("header is not valid JSON at its byte ", position));
  }

 private:
  enum class State { kStart, kTop, kMetadata, kTensor, kArray };
  enum class Field { kDType, kShape, kOffsets };
  static constexpr int kAllFields = 7;

  static int Bit(Field field) { return 1 << static_cast<int>(field); }
  static const char* Name(Field field) {
    constexpr const char* kNames[] = {"dtype", "shape", "data_offsets"};
    return kNames[static_cast<int>(field)];
  }
  static std::string Shown(const std::string& number) {
    return number.size() <= 40 ? number : absl::StrCat(number.substr(0, 40), "...");
  }

  bool Select(const std::string& name) {
    for (const Field field : {Field::kDType, Field::kShape, Field::kOffsets}) {
      if (name != Name(field)) continue;
      field_ = field;
      if ((seen_ & Bit(field)) != 0) {
        return Fail(absl::StrCat("tensor ", Quote(name_), ": duplicate ", name));
      }
      seen_ |= Bit(field);
      return true;
    }
    return Fail(absl::StrCat("tensor ", Quote(name_), ": unknown field ", Quote(name)));
  }

  // What the next value belongs to.
  std::string Where() const {
    switch (state_) {
      case State::kStart:
        return "header";
      case State::kTop:
        return absl::StrCat("entry ", Quote(name_));
      case State::kMetadata:
        return absl::StrCat("__metadata__ ", Quote(key_));
      default:
        return absl::StrCat("tensor ", Quote(name_), ": ", Name(field_));
    }
  }

  bool Unexpected(const std::string& value) {
    const char* wanted = state_ == State::kStart || state_ == State::kTop ? "an object"
                         : state_ == State::kMetadata                     ? "a string"
                         : state_ == State::kArray                        ? "whole numbers"
                         : field_ == Field::kDType                        ? "a string"
                                                                          : "an array";
    return Fail(absl::StrCat(Where(), ": expected ", wanted, ", not ", value));
  }

  bool Fail(const std::string& message) {
    status_ = absl::InvalidArgumentError(message);
    return false;
  }

  std::map<std::string, HeaderEntry>* entries_;
  std::map<std::string, std::string>* metadata_;
  absl::Status status_;
  State state_ = State::kStart;
  Field field_ = Field::kDType;
  int seen_ = 0;
  bool metadata_seen_ = false;
  std::string name_;
  std::string key_;
  HeaderEntry entry_;
  std::vector<int64_t> numbers_;
};

}  // namespace

absl::Status ParseHeaderJson(std::string_view json, std::map<std::string, HeaderEntry>* entries,
                             std::map<std::string, std::string>* metadata) {
  HeaderHandler handler(entries, metadata);
  const bool parsed = nlohmann::json::sax_parse(json.begin(), json.end(), &handler);
  if (!handler.status().ok()) return handler.status();
  if (!parsed) return absl::InvalidArgumentError("header is not valid JSON");
  return absl::OkStatus();
}

}  // namespace mneme::loader
