#include "loader/native/shard_plan.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "loader/native/native_shape.h"
#include "loader/safetensors/safetensors_header.h"

namespace mneme::loader {
namespace {

int64_t RoundUp(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// One tensor of one weight, in the order of files.
struct Place {
  int64_t weight = 0;
  int64_t tensor = 0;
};

// Where weights stand: the model's, the blocks', the memory layers'.
int Group(const WeightId& id) {
  if (id.role >= Role::kRouter) return 1;
  if (id.role >= Role::kMemoryQuery) return 2;
  return id.role >= Role::kAttentionNormWeight ? 1 : 0;
}

// The tensors that are no blocks, in order of use, then the blocks.
std::vector<Place> Order(const std::vector<WeightId>& ids,
                         const std::vector<ManifestWeight>& weights) {
  using Key = std::tuple<bool, int, int32_t, bool, int64_t, size_t, int64_t>;
  std::vector<std::pair<Key, Place>> keyed;
  for (size_t w = 0; w < weights.size(); ++w) {
    const ManifestWeight& weight = weights[w];
    if (!weight.same_as.empty()) continue;
    const bool stacked = weight.packing == Packing::kStacked;
    for (int64_t t = 0; t < weight.tensor_count(); ++t) {
      // Of an expert the matrices lie together: its number comes before the weight's.
      const Key key(weight.blocks(), Group(ids[w]), ids[w].layer, stacked, stacked ? t : 0, w, t);
      keyed.push_back({key, {static_cast<int64_t>(w), t}});
    }
  }
  std::sort(keyed.begin(), keyed.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<Place> order;
  order.reserve(keyed.size());
  for (const auto& [key, place] : keyed) order.push_back(place);
  return order;
}

std::string Entry(const std::string& name, StoredDType dtype, const std::string& shape,
                  int64_t begin, int64_t end) {
  return absl::StrCat(",\"", name, "\":{\"dtype\":\"", StoredDTypeName(dtype), "\",\"shape\":[",
                      shape, "],\"data_offsets\":[", begin, ",", end, "]}");
}

// Of the entry of a tensor, and of the padding before it, with offsets of up to 13 digits: 9 TB.
constexpr int64_t kAnyOffset = 9'999'999'999'999;

std::string TensorShape(const ManifestWeight& weight, int64_t tensor) {
  return absl::StrCat(weight.tensor_rows(tensor), ",",
                      weight.row_bytes() / StoredDTypeBytes(weight.dtype));
}

int64_t EntryBytes(const ManifestWeight& weight, int64_t tensor) {
  const std::string padding =
      Entry("padding.999999", StoredDType::kU8, absl::StrCat(kAnyOffset), kAnyOffset, kAnyOffset);
  const std::string entry = Entry(weight.tensor_name(tensor), weight.dtype,
                                  TensorShape(weight, tensor), kAnyOffset, kAnyOffset);
  return static_cast<int64_t>(padding.size() + entry.size());
}

// "format" and so on, with numbers of shards of up to five digits.
std::string Metadata(const std::string& conversion, int64_t shard, int64_t shards) {
  return absl::StrCat("\"__metadata__\":{\"format\":\"mneme\",\"format_version\":\"",
                      kNativeVersion, "\",\"conversion\":\"", conversion, "\",\"shard\":\"", shard,
                      "\",\"shards\":\"", shards, "\"}");
}

// A file being filled: an upper bound of its size, for the header's is not known before its text.
class Filling {
 public:
  explicit Filling(const std::string& conversion)
      : header_(16 + static_cast<int64_t>(Metadata(conversion, 99999, 99999).size())) {}

  // The bound with this tensor, too.
  int64_t With(const ManifestWeight& weight, int64_t tensor) const {
    Filling filled = *this;
    filled.Add(weight, tensor);
    return filled.bytes();
  }
  void Add(const ManifestWeight& weight, int64_t tensor) {
    header_ += EntryBytes(weight, tensor);
    const int64_t bytes = weight.tensor_bytes(tensor);
    if (weight.blocks()) {
      blocks_ = RoundUp(blocks_, kBlockAlignment) + bytes;
    } else {
      data_ = RoundUp(data_, kNativeTensorAlignment) + bytes;
    }
  }
  // A multiple of kShardDataAlignment.
  int64_t header_bytes() const { return RoundUp(header_, kShardDataAlignment); }
  int64_t bytes() const {
    const int64_t data = header_bytes() + data_;
    return blocks_ == 0 ? data : RoundUp(data, kBlockAlignment) + blocks_;
  }

 private:
  int64_t header_ = 0;
  int64_t data_ = 0;
  int64_t blocks_ = 0;  // which come behind the other data
};

// With a padding before each, a header has fewer than kMaxTensors and kMaxHeaderBytes.
constexpr size_t kMostShardTensors = 65'536;

struct Fill {
  std::vector<Place> places;
  int64_t header_bytes = 0;
};

std::vector<Fill> Divide(const std::vector<Place>& order,
                         const std::vector<ManifestWeight>& weights,
                         const ShardPlanOptions& options) {
  std::vector<Fill> fills;
  Filling filling(options.conversion);
  for (const Place& place : order) {
    const ManifestWeight& weight = weights[static_cast<size_t>(place.weight)];
    if (fills.empty() || fills.back().places.size() == kMostShardTensors ||
        filling.With(weight, place.tensor) > options.shard_bytes) {
      filling = Filling(options.conversion);
      fills.emplace_back();
    }
    filling.Add(weight, place.tensor);
    fills.back().places.push_back(place);
    fills.back().header_bytes = filling.header_bytes();
  }
  return fills;
}

// Gives the tensors of one shard their places, and writes its header.
PlannedShard LayOut(const Fill& fill, int64_t number, int64_t count, const std::string& conversion,
                    std::vector<ManifestWeight>* weights) {
  PlannedShard shard;
  char name[64];
  std::snprintf(name, sizeof name, "model-%05d-of-%05d.safetensors", static_cast<int>(number),
                static_cast<int>(count));
  shard.file = name;
  std::string text = absl::StrCat("{", Metadata(conversion, number, count));
  int64_t end = fill.header_bytes;
  int64_t paddings = 0;
  for (const Place& place : fill.places) {
    ManifestWeight& weight = (*weights)[static_cast<size_t>(place.weight)];
    const int64_t alignment = weight.blocks() ? kBlockAlignment : kNativeTensorAlignment;
    const int64_t begin = RoundUp(end, alignment);
    const int64_t bytes = weight.tensor_bytes(place.tensor);
    if (begin > end) {
      shard.pieces.push_back({-1, 0, end, begin - end});
      absl::StrAppend(&text, Entry(absl::StrCat("padding.", paddings++), StoredDType::kU8,
                                   absl::StrCat(begin - end), end - fill.header_bytes,
                                   begin - fill.header_bytes));
    }
    end = begin + bytes;
    shard.pieces.push_back({place.weight, place.tensor, begin, bytes});
    absl::StrAppend(&text, Entry(weight.tensor_name(place.tensor), weight.dtype,
                                 TensorShape(weight, place.tensor), begin - fill.header_bytes,
                                 end - fill.header_bytes));
    weight.tensors[static_cast<size_t>(place.tensor)] = {
        weight.tensor_name(place.tensor), number, begin, bytes, {}};
  }
  text += "}";
  const auto length = static_cast<uint64_t>(fill.header_bytes - 8);
  for (int i = 0; i < 8; ++i) shard.header.push_back(static_cast<char>(length >> (8 * i)));
  shard.header += text;
  shard.header.resize(static_cast<size_t>(fill.header_bytes), ' ');
  shard.bytes = end;
  return shard;
}

// What a weight is made of: equal for two that are the same bytes.
using Origin = std::tuple<int, Packing, StoredDType, bool,
                          std::vector<std::tuple<const StoredTensor*, int64_t, int64_t, int64_t>>>;

Origin OriginOf(const WeightId& id, const WeightSource& source, const ManifestWeight& shape) {
  int computed = 0;
  if (id.role == Role::kMemoryKeyInverseNorm) computed = 1;
  if (id.role == Role::kMemoryKeyMean) computed = 2;
  Origin origin(computed, shape.packing, shape.dtype, IsSmall(id.role), {});
  for (const WeightSource::Part& part : source.parts) {
    std::get<4>(origin).emplace_back(part.tensor, part.first_row, part.rows, part.cols);
  }
  return origin;
}

}  // namespace

int64_t ShardPlan::bytes() const {
  int64_t sum = 0;
  for (const PlannedShard& shard : shards) sum += shard.bytes;
  return sum;
}

absl::StatusOr<ShardPlan> PlanShards(const ModelDescription& model, const WeightSources& weights,
                                     const ShardPlanOptions& options) {
  ShardPlan plan;
  std::map<Origin, std::string> origins;
  int64_t tensors = 0;
  for (const auto& [id, source] : weights) {
    absl::StatusOr<ManifestWeight> shape =
        NativeShape(id, source, model, options.pack, options.shard_bytes);
    if (!shape.ok()) return shape.status();
    if (!source.parts.empty()) {
      const auto [same, fresh] = origins.emplace(OriginOf(id, source, *shape), shape->name);
      if (!fresh) shape->same_as = same->second;
    }
    if (shape->same_as.empty()) {
      tensors += shape->tensor_count();
      if (tensors > kMostNativeTensors) {
        return absl::InvalidArgumentError(
            absl::StrCat("the model has more than ", kMostNativeTensors, " tensors"));
      }
      shape->tensors.resize(static_cast<size_t>(shape->tensor_count()));
    }
    plan.ids.push_back(id);
    plan.weights.push_back(*std::move(shape));
  }
  const std::vector<Fill> fills = Divide(Order(plan.ids, plan.weights), plan.weights, options);
  const auto count = static_cast<int64_t>(fills.size());
  if (count > kMostShards) {
    return absl::InvalidArgumentError(
        absl::StrCat(count, " shards, at most ", kMostShards, " are possible"));
  }
  for (int64_t i = 0; i < count; ++i) {
    plan.shards.push_back(
        LayOut(fills[static_cast<size_t>(i)], i + 1, count, options.conversion, &plan.weights));
  }
  return plan;
}

}  // namespace mneme::loader
