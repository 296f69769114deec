// One stream of the demo model over gRPC on loopback, server and client in one process: time to the
// first token of a 64-token prompt, tokens per second, and where a token's time goes: the step, the
// runtime's own share of it, and what schedule and gRPC add. The limit is the speed at which this
// machine reads as many bytes as a step does, measured in the same run.
//
//   stream_bench [MODEL_DIRECTORY [RANKS]]      without RANKS: on one, then on as many as pay

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <string>
#include <vector>

#include "clients/cli/local_server.h"
#include "clients/cpp/client.h"
#include "kernels/simd/machine_limits.h"

namespace mneme {
namespace {

constexpr int kPromptTokens = 64;
constexpr int kOutputTokens = 512;
constexpr int kStreams = 15;

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double Quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1,
                         static_cast<size_t>(q * static_cast<double>(values.size())))];
}

struct Stream {
  double first_token_s = 0;
  double tokens_per_s = 0;  // after the first
  double prefill_s = 0;     // as the server reports it
  std::vector<double> gaps_s;
};

// A prompt that no earlier one begins with, so that nothing of it is cached.
v1::GenerateRequest Request(int number, int vocab_size, int max_tokens) {
  v1::GenerateRequest request;
  for (int i = 0; i < kPromptTokens; ++i) {
    request.mutable_token_ids()->add_ids((number * 131 + i * 17 + 1) % vocab_size);
  }
  request.mutable_stopping()->set_max_tokens(max_tokens);
  request.mutable_stopping()->set_ignore_eos(true);
  request.mutable_sampling()->set_temperature(0);
  return request;
}

absl::StatusOr<Stream> Run(client::Client* client, const v1::GenerateRequest& request) {
  Stream stream;
  const double start = Now();
  std::vector<double> times;
  absl::StatusOr<client::GenerateResult> result =
      client->Generate(request, {}, [&](const v1::ChoiceDelta& delta) {
        for (int i = 0; i < delta.token_ids_size(); ++i) times.push_back(Now());
        return true;
      });
  if (!result.ok()) return result.status();
  stream.first_token_s = times.front() - start;
  stream.tokens_per_s = static_cast<double>(times.size() - 1) / (times.back() - times.front());
  stream.prefill_s = result->usage.prefill_seconds();
  for (size_t i = 1; i < times.size(); ++i) stream.gaps_s.push_back(times[i] - times[i - 1]);
  return stream;
}

double ReadBytes(const v1::Traffic& traffic) {
  double bytes = 0;
  for (const v1::Traffic::Class& c : traffic.classes()) {
    if (c.name() != "activations") bytes += c.read_bytes();
  }
  return bytes;
}

absl::Status Measure(const std::string& directory, int ranks) {
  ServingOptions options;
  options.ranks = ranks;
  options.model_directory = directory;
  server::ServerOptions server_options;
  server_options.listen = "127.0.0.1:0";
  auto local = cli::LocalServer::Start(options, server_options);
  if (!local.ok()) return local.status();
  auto client = client::Client::Connect({.address = (*local)->server().address()});
  if (!client.ok()) return client.status();
  ranks = (*local)->serving().plan().cluster().ranks();
  const int vocab = static_cast<int>((*local)->serving().checkpoint().model.vocab_size);

  if (auto warm = Run(client->get(), Request(0, vocab, 64)); !warm.ok()) return warm.status();
  const auto before = (*client)->GetStats();
  std::vector<double> first;
  std::vector<double> rates;
  std::vector<double> gaps;
  double prefill_s = 0;
  for (int i = 1; i <= kStreams; ++i) {
    auto stream = Run(client->get(), Request(i, vocab, kOutputTokens));
    if (!stream.ok()) return stream.status();
    first.push_back(stream->first_token_s);
    prefill_s += stream->prefill_s;
    rates.push_back(stream->tokens_per_s);
    gaps.insert(gaps.end(), stream->gaps_s.begin(), stream->gaps_s.end());
  }
  const auto after = (*client)->GetStats();
  if (!before.ok() || !after.ok()) return before.ok() ? after.status() : before.status();

  // The prefill of each is one step.
  const double steps = static_cast<double>(after->steps_total() - before->steps_total()) - kStreams;
  const double step_s =
      (after->step_seconds_total() - before->step_seconds_total() - prefill_s) / steps;
  const double runtime_s =
      (after->runtime_seconds_total() - before->runtime_seconds_total()) / steps;
  const double bytes =
      (ReadBytes(after->traffic_total()) - ReadBytes(before->traffic_total())) / steps;
  const double limit =
      kernels::MeasureReadBandwidth(static_cast<int64_t>(bytes), kernels::DetectIsa(), ranks);
  std::printf("%s, one stream, %d prompt and %d output tokens, %d runs, %d rank%s\n",
              directory.c_str(), kPromptTokens, kOutputTokens, kStreams, ranks,
              ranks == 1 ? "" : "s");
  std::printf("time to first token   %7.2f ms median, %.2f ms worst\n", Quantile(first, 0.5) * 1e3,
              Quantile(first, 1) * 1e3);
  std::printf("tokens per second     %7.0f median, %.0f best\n", Quantile(rates, 0.5),
              Quantile(rates, 1));
  std::printf("inter-token latency   %7.3f ms p50, %.3f ms p99\n", Quantile(gaps, 0.5) * 1e3,
              Quantile(gaps, 0.99) * 1e3);
  std::printf("a step                %7.3f ms mean, of which runtime %.4f ms = %.2f %%\n",
              step_s * 1e3, runtime_s * 1e3, 100 * runtime_s / step_s);
  std::printf(
      "schedule and gRPC add %7.3f ms to a token (mean latency less a mean step)\n",
      (std::accumulate(gaps.begin(), gaps.end(), 0.0) / static_cast<double>(gaps.size()) - step_s) *
          1e3);
  std::printf(
      "a step reads          %7.2f MB at %.1f GB/s = %.0f %% of the %.1f GB/s of %d thread%s\n",
      bytes / 1e6, bytes / step_s / 1e9, 100 * bytes / step_s / limit, limit / 1e9, ranks,
      ranks == 1 ? "" : "s");
  return absl::OkStatus();
}

}  // namespace
}  // namespace mneme

int main(int argc, char** argv) {
  const std::string directory = argc > 1 ? argv[1] : "models/demo/ultramem";
  std::vector<int> ranks = {1, 0};
  if (argc > 2) ranks = {std::atoi(argv[2])};
  for (int count : ranks) {
    const absl::Status status = mneme::Measure(directory, count);
    if (!status.ok()) {
      std::fprintf(stderr, "%s\n", status.ToString().c_str());
      return 1;
    }
  }
  return 0;
}
