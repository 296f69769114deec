#include "clients/cli/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

namespace mneme::cli {
namespace {

using ::testing::HasSubstr;

int Echo(const Invocation& invocation) {
  bool loud = false;
  FlagTable flags("echo", "[WORD]", "Says it.");
  flags.Add("loud", &loud, "Louder.");
  int exit_status = 0;
  if (!ParseFlags(invocation, &flags, 1, &exit_status)) return exit_status;
  invocation.out << (loud ? "!" : "") << flags.positionals().at(0);
  return 0;
}

int Broken(const Invocation& invocation) {
  return Fail(invocation, "broken", absl::NotFoundError("no such thing"));
}

constexpr Verb kVerbs[] = {{"echo", "says it", Echo}, {"broken", "fails", Broken}};

struct Outcome {
  int exit_status;
  std::string out;
  std::string err;
};

Outcome RunWith(std::vector<std::string> arguments) {
  std::istringstream in;
  std::ostringstream out, err;
  const int exit_status = RunCommandLine(kVerbs, "mneme", arguments, in, out, err);
  return {exit_status, out.str(), err.str()};
}

TEST(CommandLineTest, RunsTheVerb) {
  const Outcome outcome = RunWith({"echo", "--loud", "hi"});
  EXPECT_EQ(outcome.exit_status, 0);
  EXPECT_EQ(outcome.out, "!hi");
}

TEST(CommandLineTest, HelpListsVerbsAndFlags) {
  EXPECT_THAT(RunWith({"--help"}).out, HasSubstr("  echo        says it\n"));
  EXPECT_EQ(RunWith({"--help"}).exit_status, 0);
  EXPECT_THAT(RunWith({"echo", "--help"}).out, HasSubstr("  --loud"));
  EXPECT_EQ(RunWith({"echo", "--help"}).exit_status, 0);
  EXPECT_EQ(RunWith({"--version"}).out, std::string("mneme ") + kVersion + "\n");
}

TEST(CommandLineTest, WithoutAVerbTheHelpIsAnError) {
  EXPECT_EQ(RunWith({}).exit_status, kExitUsage);
  EXPECT_THAT(RunWith({}).err, HasSubstr("usage: mneme VERB"));
}

TEST(CommandLineTest, MistakesAreNamedOnStandardError) {
  EXPECT_EQ(RunWith({"ecoh"}).err, "mneme: unknown verb 'ecoh'; did you mean 'echo'?\n");
  EXPECT_EQ(RunWith({"ecoh"}).exit_status, kExitUsage);
  EXPECT_EQ(RunWith({"zzz"}).err, "mneme: unknown verb 'zzz'; `mneme --help` lists them\n");
  EXPECT_EQ(RunWith({"echo", "--lout"}).err,
            "mneme echo: unknown flag --lout of `mneme echo`; did you mean --loud?\n");
  EXPECT_EQ(RunWith({"echo", "a", "b"}).err, "mneme echo: unexpected argument 'b'\n");
  EXPECT_EQ(RunWith({"broken"}).err, "mneme broken: NOT_FOUND: no such thing\n");
  EXPECT_EQ(RunWith({"broken"}).exit_status, kExitFailed);
}

}  // namespace
}  // namespace mneme::cli
