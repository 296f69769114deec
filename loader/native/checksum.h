// The checksums of native files: XXH3 of 64 bits, one for each kChecksumBytes of a tensor.
#ifndef MNEME_LOADER_NATIVE_CHECKSUM_H_
#define MNEME_LOADER_NATIVE_CHECKSUM_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mneme::loader {

// 16 lower-case hexadecimal digits.
std::string HexChecksum(uint64_t checksum);
std::string ChecksumOf(std::span<const uint8_t> bytes);
std::string ChecksumOf(std::string_view text);
// XXH3 of 128 bits: 32 lower-case hexadecimal digits.
std::string WideChecksumOf(std::string_view text);

// The checksum of bytes that come piece by piece. Not thread safe.
class Checksum {
 public:
  Checksum();
  ~Checksum();
  Checksum(Checksum&&) noexcept;
  Checksum& operator=(Checksum&&) noexcept;

  void Add(std::span<const uint8_t> bytes);
  // Of all that was added; begins anew.
  std::string Take();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The checksums of one tensor whose bytes come piece by piece.
class TensorChecksums {
 public:
  void Add(std::span<const uint8_t> bytes);
  // Those of all blocks of what was added; begins anew.
  std::vector<std::string> Take();

 private:
  Checksum checksum_;
  int64_t in_block_ = 0;
  std::vector<std::string> done_;
};

}  // namespace mneme::loader

#endif  // MNEME_LOADER_NATIVE_CHECKSUM_H_
