#include <signal.h>
#include <unistd.h>

#include <memory>
#include <mutex>

#include "absl/strings/str_cat.h"
#include "clients/cli/generate_flags.h"
#include "clients/cli/generate_report.h"
#include "clients/cli/local_server.h"
#include "clients/cli/model_flags.h"
#include "clients/cli/signals.h"
#include "clients/cli/verbs.h"
#include "clients/cpp/client.h"

namespace mneme::cli {
namespace {

// What Ctrl-C cancels. The first one cancels the stream that is watched, any other ends the
// process.
class Interrupt {
 public:
  void OnSignal() {
    const std::lock_guard lock(mutex_);
    if (interrupted_ || stream_ == nullptr) _exit(kExitInterrupted);
    interrupted_ = true;
    stream_->Cancel();
  }
  // Null: nothing.
  void Watch(client::GenerateStream* stream) {
    const std::lock_guard lock(mutex_);
    stream_ = stream;
  }
  bool interrupted() const {
    const std::lock_guard lock(mutex_);
    return interrupted_;
  }

 private:
  mutable std::mutex mutex_;
  client::GenerateStream* stream_ = nullptr;
  bool interrupted_ = false;
};

// Prints deltas as they come. Of several choices the first streams, the others follow whole.
class Printer {
 public:
  Printer(std::ostream& out, bool ids_only) : out_(out), ids_only_(ids_only) {}

  void Print(const v1::GenerateReply& reply) {
    for (const v1::ChoiceDelta& delta : reply.choices()) {
      if (delta.index() != 0) continue;
      if (!ids_only_ && !delta.text().empty()) {
        out_ << delta.text();
        at_line_start_ = delta.text().back() == '\n';
      }
      if (ids_only_) {
        for (const int32_t id : delta.token_ids()) out_ << id << ' ';
        at_line_start_ = at_line_start_ && delta.token_ids().empty();
      }
    }
    out_.flush();
  }

  void PrintTheRest(const client::GenerateResult& result) {
    EndLine();
    for (size_t i = 1; i < result.choices.size(); ++i) {
      out_ << "--- choice " << i << "\n";
      if (ids_only_) {
        for (const int32_t id : result.choices[i].token_ids) out_ << id << ' ';
        at_line_start_ = false;
      } else {
        out_ << result.choices[i].text;
        at_line_start_ = result.choices[i].text.ends_with('\n');
      }
      EndLine();
    }
  }

 private:
  void EndLine() {
    if (!at_line_start_) out_ << '\n';
    at_line_start_ = true;
    out_.flush();
  }

  std::ostream& out_;
  const bool ids_only_;
  bool at_line_start_ = true;
};

struct Flags {
  GenerateFlags generate;
  ModelFlags model;
  std::string server = "127.0.0.1:50051";
  double timeout_seconds = 0;
  bool json = false;

  FlagTable Table() {
    FlagTable flags("generate", "[PROMPT | -]",
                    "Generates text through a server and streams it to standard output. With "
                    "--model it runs a server of its own on a free loopback port.");
    flags.Add("server", &server, "HOST:PORT", "The server to ask.");
    flags.Add("json", &json,
              "After the text, print one line: a JSON object with text, token_ids, finish_reason, "
              "usage, timing and traffic.");
    constexpr double kWeek = 7 * 24 * 60 * 60;
    flags.Add("timeout-seconds", &timeout_seconds, {0, kWeek}, "S",
              "Give up after so long; 0: never.");
    generate.AddTo(&flags);
    model.AddTo(&flags, "Serve this checkpoint, and ask it.");
    return flags;
  }
};

// Reads the stream to its end.
absl::Status Read(client::GenerateStream* stream, Printer* printer, StreamClock* clock,
                  client::GenerateResult* result) {
  v1::GenerateReply reply;
  while (stream->Next(&reply)) {
    int tokens = 0;
    for (const v1::ChoiceDelta& delta : reply.choices()) {
      if (delta.index() == 0) tokens += delta.token_ids_size();
    }
    clock->OnTokens(tokens);
    printer->Print(reply);
    result->Add(reply);
  }
  clock->Stop();
  return stream->Finish();
}

}  // namespace

int RunGenerate(const Invocation& invocation) {
  Flags flags;
  FlagTable table = flags.Table();
  int exit_status = 0;
  if (!ParseFlags(invocation, &table, 1, &exit_status)) return exit_status;
  if (table.given("server") && table.given("model")) {
    invocation.err << "mneme generate: --server and --model exclude one another" << std::endl;
    return kExitUsage;
  }
  for (const char* flag : {"logprobs", "prompt-logprobs"}) {
    if (!table.given(flag) || flags.json) continue;
    invocation.err << "mneme generate: --" << flag << " needs --json, which prints them"
                   << std::endl;
    return kExitUsage;
  }
  absl::StatusOr<v1::GenerateRequest> request =
      flags.generate.ToRequest(table.positionals(), invocation.in);
  if (!request.ok()) return Fail(invocation, "generate", request.status());

  Interrupt interrupt;
  const SignalWatcher watcher({SIGINT, SIGTERM}, [&](int) { interrupt.OnSignal(); });
  std::unique_ptr<LocalServer> local;
  if (table.given("model")) {
    absl::StatusOr<std::unique_ptr<LocalServer>> started =
        StartOnFreePort(flags.model, invocation.executable);
    if (!started.ok()) return Fail(invocation, "generate", started.status());
    local = *std::move(started);
    flags.server = local->server().address();
  }
  const absl::StatusOr<std::unique_ptr<client::Client>> client =
      client::Client::Connect({.address = flags.server, .connect_timeout = absl::Seconds(2)});
  if (!client.ok()) return Fail(invocation, "generate", client.status());
  const absl::StatusOr<v1::GetModelReply> model = (*client)->GetModel();
  if (!model.ok()) return Fail(invocation, "generate", model.status());

  client::CallOptions call;
  if (flags.timeout_seconds > 0) call.timeout = absl::Seconds(flags.timeout_seconds);
  Printer printer(invocation.out, !model->has_tokenizer() || flags.generate.token_ids_only);
  StreamClock clock;
  client::GenerateResult result;
  clock.Start();
  const std::unique_ptr<client::GenerateStream> stream = (*client)->Start(*request, call);
  interrupt.Watch(stream.get());
  const absl::Status status = Read(stream.get(), &printer, &clock, &result);
  interrupt.Watch(nullptr);
  printer.PrintTheRest(result);
  if (interrupt.interrupted()) {
    for (auto& choice : result.choices) {
      if (choice.finish_reason == v1::FINISH_REASON_UNSPECIFIED) {
        choice.finish_reason = v1::CANCELLED;
      }
    }
  }
  if (flags.json && (status.ok() || interrupt.interrupted())) {
    invocation.out
        << ToJson(result, clock).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)
        << std::endl;
  }
  if (interrupt.interrupted()) return kExitInterrupted;
  if (absl::IsDeadlineExceeded(status)) {
    return Fail(invocation, "generate",
                absl::DeadlineExceededError(absl::StrCat(
                    "not finished within the ", flags.timeout_seconds, " s of --timeout-seconds")));
  }
  return status.ok() ? 0 : Fail(invocation, "generate", status);
}

}  // namespace mneme::cli
