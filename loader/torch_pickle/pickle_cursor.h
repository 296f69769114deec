// Reading a pickle's bytes from front to back. (A part of pickle_machine.)
#ifndef MNEME_LOADER_TORCH_PICKLE_PICKLE_CURSOR_H_
#define MNEME_LOADER_TORCH_PICKLE_PICKLE_CURSOR_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace mneme::loader::pickle {

// After a read past the end every read gives 0 or nothing, and cut_short() is true.
class Cursor {
 public:
  explicit Cursor(std::span<const uint8_t> bytes) : bytes_(bytes) {}

  size_t at() const { return at_; }
  size_t left() const { return bytes_.size() - at_; }
  bool cut_short() const { return cut_short_; }

  // The next `bytes` (at most 8) bytes, little-endian.
  uint64_t Number(size_t bytes) {
    if (!Have(bytes)) return 0;
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; ++i) value |= uint64_t{bytes_[at_ + i]} << (8 * i);
    at_ += bytes;
    return value;
  }

  // The same in two's complement of as many bytes as there are.
  int64_t SignedNumber(size_t bytes) {
    uint64_t value = Number(bytes);
    const bool negative = bytes > 0 && (value >> (8 * bytes - 1)) != 0;
    if (negative && bytes < 8) value |= ~uint64_t{0} << (8 * bytes);
    return static_cast<int64_t>(value);
  }

  // Moves over `bytes` bytes; returns where they begin.
  size_t Skip(size_t bytes) {
    if (!Have(bytes)) return at_;
    at_ += bytes;
    return at_ - bytes;
  }

  // The bytes up to the next newline, which is skipped.
  std::string_view Line() {
    const size_t length = Text(at_, left()).find('\n');
    if (length == std::string_view::npos) {
      cut_short_ = true;
      return {};
    }
    const std::string_view line = Text(at_, length);
    at_ += length + 1;
    return line;
  }

  // Any part of the pickle. REQUIRES: it lies inside.
  std::string_view Text(size_t begin, size_t length) const {
    return {reinterpret_cast<const char*>(bytes_.data()) + begin, length};
  }

 private:
  bool Have(size_t bytes) {
    if (cut_short_ || left() < bytes) cut_short_ = true;
    return !cut_short_;
  }

  std::span<const uint8_t> bytes_;
  size_t at_ = 0;
  bool cut_short_ = false;
};

}  // namespace mneme::loader::pickle

#endif  // MNEME_LOADER_TORCH_PICKLE_PICKLE_CURSOR_H_
