// What a kernel moved: bytes read and written, by class. Counted from the data (unique rows, active
// experts), never estimated. Sums of Traffic over kernels give a step's, over steps a server's.
#ifndef MNEME_KERNELS_TRAFFIC_TRAFFIC_H_
#define MNEME_KERNELS_TRAFFIC_TRAFFIC_H_

#include <array>
#include <cstdint>

namespace mneme::kernels {

enum class TrafficClass : uint8_t {
  kDenseWeights,   // weights every token reads: projections, norms, embeddings, heads, RoPE tables
  kExpertWeights,  // weights of a Mixture-of-Experts' active experts
  kKeys,           // product keys and what belongs to them (norm factors, cores, shuffle entries)
  kValueRows,      // rows of value tables, pre-values included
  kKv,             // the KV cache
  kActivations,    // registers between operators
  kExchange,       // bytes moved between ranks
};
inline constexpr int kTrafficClasses = 7;

constexpr const char* TrafficClassName(TrafficClass c) {
  constexpr const char* kNames[kTrafficClasses] = {
      "dense_weights", "expert_weights", "keys", "value_rows", "kv", "activations", "exchange"};
  return kNames[static_cast<int>(c)];
}

struct Traffic {
  std::array<uint64_t, kTrafficClasses> read_bytes{};
  std::array<uint64_t, kTrafficClasses> written_bytes{};

  void Read(TrafficClass c, uint64_t bytes) { read_bytes[static_cast<int>(c)] += bytes; }
  void Write(TrafficClass c, uint64_t bytes) { written_bytes[static_cast<int>(c)] += bytes; }
  Traffic& operator+=(const Traffic& other) {
    for (int i = 0; i < kTrafficClasses; ++i) {
      read_bytes[i] += other.read_bytes[i];
      written_bytes[i] += other.written_bytes[i];
    }
    return *this;
  }
  bool operator==(const Traffic&) const = default;
};

}  // namespace mneme::kernels

#endif  // MNEME_KERNELS_TRAFFIC_TRAFFIC_H_
