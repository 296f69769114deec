#include "clients/cli/evaluation.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "clients/cli/engine_run.h"
#include "clients/cli/stream_table.h"
#include "engine/serving.h"
#include "kernels/device/host_memory.h"
#include "loader/safetensors/safetensors.h"

namespace mneme::cli {
namespace {

using loader::SafetensorsFile;
using loader::StoredDType;
using loader::StoredTensor;

absl::StatusOr<IdMatrix> ReadIds(const SafetensorsFile& file, const std::string& path,
                                 const std::string& name) {
  const auto found = file.tensors().find(name);
  if (found == file.tensors().end()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": has no tensor ", name));
  }
  const StoredTensor& tensor = found->second;
  if (tensor.dtype != StoredDType::kI64 || tensor.shape.size() != 2 || tensor.elements() == 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": ", name, ": expected [sequences, tokens] I64, file has ", tensor.Describe()));
  }
  IdMatrix matrix{.sequences = tensor.shape[0], .length = tensor.shape[1], .ids = {}};
  for (int64_t i = 0; i < tensor.elements(); ++i) {
    int64_t id = 0;
    std::memcpy(&id, tensor.bytes.data() + i * sizeof id, sizeof id);
    if (id < 0 || id > INT32_MAX) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": ", name, ": ", id, " is no token id"));
    }
    matrix.ids.push_back(static_cast<int32_t>(id));
  }
  return matrix;
}

// What one traced memory layer did for every token.
struct LayerTrace {
  int64_t layer = 0;
  std::vector<int64_t> grid;
  std::vector<float> score;
  std::vector<float> out;
  int64_t grid_cols = 0;
  int64_t score_cols = 0;
  int64_t out_cols = 0;
};

// What one traced router chose for every token: ascending ids, and their weights.
struct RouterTrace {
  int64_t block = 0;
  std::vector<int64_t> expert;
  std::vector<float> weight;
  int64_t top_k = 0;
};

// Keeps the logits and traces of the sequences of one matrix.
class Collector : public TokenObserver {
 public:
  explicit Collector(const IdMatrix& ids)
      : TokenObserver("eval-"), length_(ids.length), tokens_(ids.sequences * ids.length) {}

  // Before the first request.
  void KeepLogits(int64_t embedding_size) {
    embedding_size_ = embedding_size;
    logits.resize(static_cast<size_t>(tokens_ * embedding_size));
  }

  void TraceLayer(int64_t layer) {
    traces.emplace_back();
    traces.back().layer = layer;
  }

  void TraceRouter(int64_t block) {
    routers.emplace_back();
    routers.back().block = block;
  }

  void OnToken(const Token& token, const runtime::Executor& executor) override {
    const int64_t at = token.request * length_ + token.position;
    if (token.position >= length_ || at >= tokens_) return;
    if (!token.logits.empty()) {
      std::memcpy(logits.data() + at * embedding_size_, token.logits.data(),
                  token.logits.size_bytes());
    }
    for (LayerTrace& trace : traces) KeepTrace(token, at, executor, &trace);
    for (RouterTrace& trace : routers) {
      const std::string name = absl::StrCat("block.", trace.block, ".router");
      KeepRow<int32_t>(executor.Trace(name + ".expert"), token.row, at, &trace.expert,
                       &trace.top_k);
      KeepRow<float>(executor.Trace(name + ".weight"), token.row, at, &trace.weight, &trace.top_k);
    }
  }

  std::vector<float> logits;
  std::vector<LayerTrace> traces;
  std::vector<RouterTrace> routers;

 private:
  template <class From, class To>
  void KeepRow(const kernels::TensorView& view, int32_t row, int64_t at, std::vector<To>* out,
               int64_t* cols) {
    if (view.empty()) return;
    if (out->empty()) {
      *cols = view.cols;
      out->resize(static_cast<size_t>(tokens_ * view.cols));
    }
    const From* from = view.As<From>().row(row);
    for (int64_t c = 0; c < view.cols; ++c)
      (*out)[static_cast<size_t>(at * view.cols + c)] = from[c];
  }

  void KeepTrace(const Token& token, int64_t at, const runtime::Executor& executor,
                 LayerTrace* trace) {
    const std::string name = absl::StrCat("memory.", trace->layer);
    KeepRow<int32_t>(executor.Trace(name + ".grid"), token.row, at, &trace->grid,
                     &trace->grid_cols);
    KeepRow<float>(executor.Trace(name + ".score"), token.row, at, &trace->score,
                   &trace->score_cols);
    KeepRow<float>(executor.Trace(name + ".out"), token.row, at, &trace->out, &trace->out_cols);
  }

  const int64_t length_;
  const int64_t tokens_;
  int64_t embedding_size_ = 0;
};

template <class T>
StoredTensor Tensor(std::string name, StoredDType dtype, std::vector<int64_t> shape,
                    const std::vector<T>& values) {
  StoredTensor tensor;
  tensor.name = std::move(name);
  tensor.dtype = dtype;
  tensor.shape = std::move(shape);
  tensor.bytes = {reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(T)};
  return tensor;
}

std::vector<GenerateRequest> EvalRequests(const IdMatrix& ids, const Collector& collector) {
  std::vector<GenerateRequest> requests;
  for (int64_t s = 0; s < ids.sequences; ++s) {
    GenerateRequest request;
    request.id = collector.IdOf(s);
    request.prompt = ids.Row(s);
    request.max_tokens = 0;
    request.text = false;
    request.all_logits = true;
    requests.push_back(std::move(request));
  }
  return requests;
}

std::vector<GenerateRequest> GreedyRequests(const IdMatrix& prompts, int32_t tokens) {
  std::vector<GenerateRequest> requests;
  for (int64_t s = 0; s < prompts.sequences; ++s) {
    GenerateRequest request;
    request.id = absl::StrCat("greedy-", s);
    request.prompt = prompts.Row(s);
    request.sampling.temperature = 0;
    request.max_tokens = tokens;
    request.ignore_eos = true;
    request.text = false;
    requests.push_back(std::move(request));
  }
  return requests;
}

void AppendTraces(const Collector& collector, const loader::MemoryDescription& memory,
                  int64_t tokens, std::vector<StoredTensor>* out) {
  for (const LayerTrace& trace : collector.traces) {
    out->push_back(Tensor(absl::StrCat("mem_grid_index.", trace.layer), StoredDType::kI64,
                          {tokens, trace.grid_cols}, trace.grid));
    std::vector<int64_t> shape = {tokens, trace.grid_cols};
    if (memory.kind != loader::MemoryKind::kMemoryPlus) {
      shape.push_back(trace.score_cols / trace.grid_cols);
    }
    out->push_back(
        Tensor(absl::StrCat("mem_score.", trace.layer), StoredDType::kF32, shape, trace.score));
    out->push_back(Tensor(absl::StrCat("mem_out.", trace.layer), StoredDType::kF32,
                          {tokens, trace.out_cols}, trace.out));
  }
}

// Each token's experts by their weight, best first.
void SortExperts(RouterTrace* trace) {
  const auto k = static_cast<size_t>(trace->top_k);
  std::vector<size_t> order(k);
  std::vector<int64_t> expert(k);
  std::vector<float> weight(k);
  for (size_t first = 0; first < trace->expert.size(); first += k) {
    std::iota(order.begin(), order.end(), first);
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return trace->weight[a] > trace->weight[b]; });
    for (size_t i = 0; i < k; ++i) {
      expert[i] = trace->expert[order[i]];
      weight[i] = trace->weight[order[i]];
    }
    std::copy(expert.begin(), expert.end(), trace->expert.begin() + static_cast<int64_t>(first));
    std::copy(weight.begin(), weight.end(), trace->weight.begin() + static_cast<int64_t>(first));
  }
}

void AppendRouters(int64_t tokens, Collector* collector, std::vector<StoredTensor>* out) {
  for (RouterTrace& trace : collector->routers) {
    SortExperts(&trace);
    out->push_back(Tensor(absl::StrCat("router_topk.", trace.block), StoredDType::kI64,
                          {tokens, trace.top_k}, trace.expert));
    out->push_back(Tensor(absl::StrCat("router_weight.", trace.block), StoredDType::kF32,
                          {tokens, trace.top_k}, trace.weight));
  }
}

// The blocks whose choices are traced.
void TraceChoices(const loader::ModelDescription& model, Collector* collector) {
  if (model.memory.has_value()) {
    for (size_t i = 0; i < model.memory->layers.size(); ++i) {
      if (!model.memory->layers[i].lost) collector->TraceLayer(static_cast<int64_t>(i));
    }
  }
  for (int64_t block = 0; block < model.layers; ++block) {
    if (model.HasExperts(block)) collector->TraceRouter(block);
  }
}

constexpr char kGreedyPrompt[] = "greedy_prompt";

// What is read from the input file.
struct Input {
  IdMatrix ids;
  // With greedy tokens: what is continued, and which tensor that is.
  IdMatrix greedy_prompts;
  std::string greedy_name = "input_ids";
};

absl::StatusOr<Input> ReadInput(const EvalOptions& options) {
  const std::string& path = options.ids_path;
  const absl::StatusOr<std::shared_ptr<const SafetensorsFile>> file = SafetensorsFile::Open(path);
  if (!file.ok()) return file.status();
  Input input;
  absl::StatusOr<IdMatrix> ids = ReadIds(**file, path, "input_ids");
  if (!ids.ok()) return ids.status();
  input.ids = *std::move(ids);
  if (options.greedy_tokens == 0) return input;
  input.greedy_prompts = input.ids;
  if ((*file)->tensors().contains(kGreedyPrompt)) {
    absl::StatusOr<IdMatrix> prompts = ReadIds(**file, path, kGreedyPrompt);
    if (!prompts.ok()) return prompts.status();
    input.greedy_prompts = *std::move(prompts);
    input.greedy_name = kGreedyPrompt;
  }
  return input;
}

absl::Status CheckIds(const IdMatrix& matrix, int64_t more, const loader::ModelDescription& model) {
  if (matrix.length + more > model.max_sequence_length) {
    const std::string and_more = more > 0 ? absl::StrCat(" and ", more, " greedy ones") : "";
    return absl::InvalidArgumentError(absl::StrCat("sequences of ", matrix.length, " tokens",
                                                   and_more, ", but the context holds ",
                                                   model.max_sequence_length));
  }
  for (size_t i = 0; i < matrix.ids.size(); ++i) {
    if (matrix.ids[i] < model.vocab_size) continue;
    const auto at = static_cast<int64_t>(i);
    return absl::InvalidArgumentError(
        absl::StrCat("id ", matrix.ids[i], " of sequence ", at / matrix.length, " at position ",
                     at % matrix.length, " is not in [0, ", model.vocab_size, ")"));
  }
  return absl::OkStatus();
}

absl::Status CheckInput(const EvalOptions& options, const Input& input,
                        const loader::ModelDescription& model) {
  const auto named = [&](const std::string& tensor, const absl::Status& status) {
    if (status.ok()) return status;
    return absl::Status(status.code(),
                        absl::StrCat(options.ids_path, ": ", tensor, ": ", status.message()));
  };
  if (absl::Status s = CheckIds(input.ids, 0, model); !s.ok()) return named("input_ids", s);
  if (options.greedy_tokens > 0) {
    if (absl::Status s = CheckIds(input.greedy_prompts, options.greedy_tokens, model); !s.ok()) {
      return named(input.greedy_name, s);
    }
  }
  // What is written is kept until then. Ids are in memory already, so that this cannot overflow.
  double numbers = static_cast<double>(model.embedding_size);
  if (options.trace && model.memory.has_value()) {
    const loader::MemoryDescription& memory = *model.memory;
    const auto selected = static_cast<double>(memory.heads * memory.top_k);
    numbers +=
        static_cast<double>(memory.layers.size()) *
        (selected * (2 + static_cast<double>(memory.cores)) + static_cast<double>(model.dim));
  }
  if (options.trace && model.moe.has_value()) {
    numbers += static_cast<double>(model.layers * model.moe->top_k) * 3;
  }
  const double bytes = numbers * sizeof(float) * static_cast<double>(input.ids.ids.size());
  const int64_t available = kernels::AvailableHostMemory();
  if (available == 0 || bytes <= static_cast<double>(available)) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat(options.ids_path, ": input_ids: what ", input.ids.ids.size(),
                   " tokens give needs ", HumanBytes(bytes), " of memory; ",
                   HumanBytes(static_cast<double>(available)), " are available"));
}

// So that a long evaluation does not end in a path that cannot be written.
absl::Status CheckWritable(const std::string& path) {
  const std::filesystem::path file(path);
  std::error_code error;
  if (std::filesystem::is_directory(file, error)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": is a folder"));
  }
  const std::filesystem::path folder = file.has_parent_path() ? file.parent_path() : ".";
  if (access(folder.c_str(), W_OK | X_OK) == 0) return absl::OkStatus();
  return absl::ErrnoToStatus(errno, absl::StrCat(path, ": cannot be written"));
}

}  // namespace

absl::Status Evaluate(const EvalOptions& options) {
  if (absl::Status s = CheckWritable(options.out_path); !s.ok()) return s;
  const absl::StatusOr<Input> input = ReadInput(options);
  if (!input.ok()) return input.status();

  Collector collector(input->ids);
  ServingOptions serving_options;
  static_cast<ModelOptions&>(serving_options) = options.model;
  serving_options.trace = options.trace;
  serving_options.schedule.observer = &collector;
  // Every position's logits are wanted, also where prompts begin alike.
  serving_options.schedule.prefix_cache = false;
  absl::StatusOr<std::unique_ptr<Serving>> serving = Serving::Create(serving_options);
  if (!serving.ok()) return serving.status();
  Engine& engine = (*serving)->engine();
  const loader::ModelDescription& model = engine.model();
  if (absl::Status s = CheckInput(options, *input, model); !s.ok()) return s;
  collector.KeepLogits(model.embedding_size);
  if (options.trace) TraceChoices(model, &collector);

  const auto evaluated = RunOnEngine(&engine, EvalRequests(input->ids, collector));
  if (!evaluated.ok()) return evaluated.status();
  const int64_t tokens = input->ids.sequences * input->ids.length;
  std::vector<StoredTensor> tensors = {
      Tensor("logits", StoredDType::kF32,
             {input->ids.sequences, input->ids.length, model.embedding_size}, collector.logits)};
  if (!collector.traces.empty()) AppendTraces(collector, *model.memory, tokens, &tensors);
  AppendRouters(tokens, &collector, &tensors);
  std::vector<int64_t> greedy;
  if (options.greedy_tokens > 0) {
    const auto continued =
        RunOnEngine(&engine, GreedyRequests(input->greedy_prompts, options.greedy_tokens));
    if (!continued.ok()) return continued.status();
    for (const std::vector<int32_t>& one : *continued) {
      greedy.insert(greedy.end(), one.begin(), one.end());
    }
    tensors.push_back(Tensor("greedy", StoredDType::kI64,
                             {input->greedy_prompts.sequences, options.greedy_tokens}, greedy));
  }
  return loader::WriteSafetensors(
      options.out_path, tensors,
      {{"model", model.architecture}, {"isa", (*serving)->plan().cluster().isa()}});
}

}  // namespace mneme::cli
