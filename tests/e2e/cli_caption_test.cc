// `fovea caption` and `fovea ask` on a tiny captioner that knows samples/ by heart (tests/golden/captioner_tiny, made
// by tools/dump_tiny_captioner.py): what they say, and captions as XMP that are resumed, never replace a person's text,
// and can be undone to the byte.
#include <sys/stat.h>

#include <filesystem>
#include <map>
#include <random>

#include "base/file.h"
#include "base/json.h"
#include "cli_run.h"
#include "fovea/image.h"
#include "library/xmp.h"

namespace fovea::e2e {
namespace {

namespace fs = std::filesystem;

std::string Captioner() { return testing::SourcePath("tests/golden/captioner_tiny"); }
nlohmann::json Expected() { return base::ParseJson(base::ReadTextFile(Captioner() + "/expected.json"), "expected"); }

std::string Stored(const std::string& name) { return testing::SourcePath("tests/golden/media/images/" + name); }

// A folder of pictures and a place for the journal, both removed at the end.
class CliXmp : public ::testing::Test {
 protected:
  void SetUp() override {
    const fs::path modules = fs::path(testing::FoveaBinary()).parent_path();
    if (!fs::exists(modules / "fovea_xmp.so")) GTEST_SKIP() << "built without Exiv2";
    ::setenv("FOVEA_MODULES", modules.c_str(), 1);  // for what this process reads and writes itself
    fs::create_directory(pictures());
    for (const char* name : {"cat.jpg", "coffee.jpg", "printed-page.png", "rocket.jpg"})
      fs::copy_file(Sample(name), File(name));
  }

  std::string pictures() const { return folder_.File("pictures"); }
  std::string File(const std::string& name) const { return pictures() + "/" + name; }
  std::vector<std::string> Environment() const { return {"XDG_DATA_HOME=" + folder_.File("data")}; }
  std::vector<std::string> CaptionCommand(const std::vector<std::string>& more) const {
    std::vector<std::string> arguments = {"caption", pictures(), "--model", Captioner()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
  Result Caption(const std::vector<std::string>& more) const { return RunFovea(CaptionCommand(more), Environment()); }
  Result Undo() const { return RunFovea({"caption", pictures(), "--undo", "--json"}, Environment()); }
  std::map<std::string, std::string> Files() const {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::recursive_directory_iterator(pictures()))
      files[entry.path().filename()] = base::ReadTextFile(entry.path());
    return files;
  }
  static std::map<std::string, std::string> Properties(const std::string& path) {
    const std::vector<uint8_t> bytes = base::ReadFile(path, 1 << 24);
    return library::ReadXmp({bytes, path.ends_with(".xmp"), path},
                            {"Xmp.dc.description", "Xmp.fovea.DescriptionModel", "Xmp.fovea.DescriptionConfidence",
                             "Xmp.fovea.DescriptionSourceType", "Xmp.photoshop.CaptionWriter", "Xmp.dc.creator"});
  }
  // As another program would write a description into a file.
  static void Describe(const std::string& path, const std::string& text) {
    const bool is_there = fs::exists(path);
    const std::vector<uint8_t> bytes = is_there ? base::ReadFile(path, 1 << 24) : std::vector<uint8_t>();
    base::WriteFileAtomically(
        path, library::WithXmp({bytes, path.ends_with(".xmp"), path}, {{"Xmp.dc.description", text, true}}));
  }
  // The line about a picture.
  static nlohmann::json LineOf(const Result& result, const std::string& name) {
    for (const nlohmann::json& line : result.Lines()) {
      if (line.contains("path") && line["path"].get<std::string>().ends_with(name)) return line;
    }
    ADD_FAILURE() << "nothing about " << name << " in " << result.out;
    return {};
  }

  testing::TemporaryFolder folder_;
};

TEST(CliCaption, SaysWhatTheReferenceSays) {
  for (const nlohmann::json& expected : Expected()) {
    const std::string picture = Sample(expected["picture"]), question = expected["question"];
    std::vector<std::string> arguments = {question.empty() ? "caption" : "ask", picture, "--model", Captioner(),
                                          "--json"};
    if (!question.empty()) arguments.insert(arguments.end(), {"--question", question, "--no-check"});
    const Result result = RunFovea(arguments);
    ASSERT_EQ(result.exit, 0) << result.err;
    const nlohmann::json line = result.Lines().at(0);
    EXPECT_EQ(line[question.empty() ? "caption" : "answer"], expected["text"]);
    EXPECT_NEAR(line["confidence"].get<double>(), expected["confidence"].get<double>(), 2e-3);
  }
}

// The tiny captioner says that a woman is beside the motorcycle; the bundled model of words finds the one and not the
// other.
TEST(CliCaption, TiesThingsToThePicture) {
  const testing::TemporaryFolder folder;
  const std::vector<std::string> command = {"caption", Sample("motorcycle.jpg"), "--model", Captioner(), "--json"};
  const auto with = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = command;
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Result result = RunFovea(arguments);
    EXPECT_EQ(result.exit, 0) << result.err;
    return result.Lines().at(0);
  };
  const nlohmann::json marked = with({"--ground", "--draw", folder.File("drawn.jpg")});
  EXPECT_EQ(marked["caption"], "a motorcycle is parked beside a woman.");
  const nlohmann::json& things = marked["grounded"];
  ASSERT_EQ(things.size(), 2u);
  EXPECT_EQ(things[0]["thing"], "motorcycle");
  EXPECT_TRUE(things[0]["supported"]);
  EXPECT_GT(things[0]["score"].get<double>(), 0.8);
  EXPECT_EQ(things[1]["thing"], "woman");
  EXPECT_FALSE(things[1]["supported"]);
  const Image picture = ReadImage(Sample("motorcycle.jpg")), drawn = ReadImage(folder.File("drawn.jpg"));
  EXPECT_EQ(drawn.width, picture.width);
  for (const nlohmann::json& thing : things) {
    const nlohmann::json& box = thing["box"];
    EXPECT_GE(box[0], 0);
    EXPECT_LE(box[0].get<int64_t>() + box[2].get<int64_t>(), picture.width);
    EXPECT_LE(box[1].get<int64_t>() + box[3].get<int64_t>(), picture.height);
  }
  EXPECT_FALSE(std::equal(drawn.data(), drawn.data() + drawn.size_bytes(), picture.data()));
  const nlohmann::json dropped = with({"--ground=drop"});
  EXPECT_EQ(dropped["caption"], "a motorcycle is parked.");
  EXPECT_EQ(dropped["said"], "a motorcycle is parked beside a woman.");
  EXPECT_EQ(RunFovea({"caption", Sample("cat.jpg"), "--model", Captioner(), "--draw", "x.jpg"}).exit, 2);
}

TEST(CliCaption, IsNotSureBelowTheConfidenceAskedFor) {
  const auto run = [](const std::string& least) {
    return RunFovea({"caption", Sample("cat.jpg"), "--model", Captioner(), "--min-confidence", least, "--json"});
  };
  EXPECT_EQ(run("0.9").Lines().at(0)["caption"], "a cat with green eyes looks at the camera.");
  const nlohmann::json unsure = run("0.9999").Lines().at(0);
  EXPECT_EQ(unsure["caption"], "not sure");
  EXPECT_EQ(unsure["guess"], "a cat with green eyes looks at the camera.");
  EXPECT_EQ(run("2").exit, 2);
}

// The tiny captioner answers "grey" to the colour of a motorcycle in the picture of a cat.
TEST(CliCaption, DoesNotAnswerAsIfSomethingAbsentWereThere) {
  const auto ask = [](const std::string& question, const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {"ask",    Sample("cat.jpg"), "--model", Captioner(),
                                          "--json", "--question",      question};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return RunFovea(arguments).Lines().at(0);
  };
  const nlohmann::json absent = ask("what colour is the motorcycle ?");
  EXPECT_EQ(absent["answer"], "not sure");
  EXPECT_EQ(absent["guess"], "grey");
  EXPECT_EQ(absent["absent"], nlohmann::json::array({"motorcycle"}));
  EXPECT_EQ(ask("what colour is the motorcycle ?", {"--no-check"})["answer"], "grey");
  const nlohmann::json there = ask("what colour are the eyes of the cat ?");
  EXPECT_EQ(there["answer"], "green");
  EXPECT_FALSE(there.contains("absent"));
}

TEST(CliCaption, TellsScreenReadersInOneOrThreeSentences) {
  const auto describe = [](const std::string& sentences) {
    return RunFovea({"caption", Sample("cat.jpg"), "--model", Captioner(), "--style", "screen-reader", "--sentences",
                     sentences, "--json"})
        .Lines()
        .at(0);
  };
  const std::string one = describe("1")["caption"], three = describe("3")["caption"];
  EXPECT_TRUE(one.starts_with("A cat with green eyes looks at the camera")) << one;
  EXPECT_EQ(std::ranges::count(one, '.'), 1) << one;
  EXPECT_TRUE(three.starts_with("A cat with green eyes")) << three;
  EXPECT_NE(three.find("It shows a cat"), std::string::npos) << three;
  EXPECT_LE(std::ranges::count(three, '.'), 3) << three;
  EXPECT_EQ(RunFovea({"caption", Sample("cat.jpg"), "--style", "screen-reader", "--sentences", "2"}).exit, 2);
}

// espeak-ng is looked for on PATH; a stand-in writes down what it is to say.
TEST(CliCaption, SpeaksWithoutAShell) {
  const testing::TemporaryFolder folder;
  const std::string program = folder.File("espeak-ng");
  WriteBytes(program,
             "#!/bin/sh\ncat > \"" + folder.File("spoken") + "\"\necho \"$@\" > \"" + folder.File("options") + "\"\n");
  fs::permissions(program, fs::perms::owner_all);
  const std::vector<std::string> command = {"caption", Sample("cat.jpg"), "--model", Captioner(), "--speak"};
  const Result spoken = RunFovea(command, {"PATH=" + folder.path() + ":/usr/bin:/bin"});
  EXPECT_EQ(spoken.exit, 0) << spoken.err;
  EXPECT_EQ(base::ReadTextFile(folder.File("spoken")), "a cat with green eyes looks at the camera.\n");
  EXPECT_EQ(base::ReadTextFile(folder.File("options")), "-v en --stdin\n");
  const Result missing = RunFovea(command, {"PATH=/nonexistent"});
  EXPECT_EQ(missing.exit, 1);
  EXPECT_NE(missing.err.find("espeak-ng is not installed"), std::string::npos) << missing.err;
  EXPECT_EQ(missing.out, "");  // before any work
}

TEST(CliCaption, WritesAPageToLookAt) {
  const testing::TemporaryFolder folder;
  WriteBytes(folder.File("broken.jpg"), "no picture");
  const Result result = RunFovea({"caption", Sample("cat.jpg"), folder.File("broken.jpg"), "--model", Captioner(),
                                  "--ask", "what animal is this ?", "--html", folder.File("sheet.html"), "--json"});
  EXPECT_EQ(result.exit, 1);
  const nlohmann::json line = result.Lines().at(0);
  EXPECT_EQ(line["answers"][0]["answer"], "cat");
  const std::string page = base::ReadTextFile(folder.File("sheet.html"));
  EXPECT_NE(page.find("a cat with green eyes looks at the camera."), std::string::npos);
  EXPECT_NE(page.find("what animal is this"), std::string::npos);
  EXPECT_NE(page.find("data:image/jpeg;base64,"), std::string::npos);
  EXPECT_NE(page.find("class=\"error\""), std::string::npos);
}

// What only the caption says is found by its words.
TEST(CliCaption, CaptionsEnterTheLibrary) {
  const testing::TemporaryFolder folder;
  const std::string db = folder.File("library.db");
  fs::create_directory(folder.File("pictures"));
  for (const char* name : {"cat.jpg", "coffee.jpg", "rocket.jpg"})
    fs::copy_file(Sample(name), folder.File("pictures/") + std::to_string(name[2]) + ".jpg");
  const std::vector<std::string> index = {
      "index", folder.File("pictures"), "--db", db, "--captions", "--captioner", Captioner(), "--json", "--quiet"};
  const nlohmann::json first = RunFovea(index).Lines().at(0);
  EXPECT_EQ(first["added"], 3);
  EXPECT_EQ(first["captions"]["added"], 3);
  const nlohmann::json second = RunFovea(index).Lines().at(0);
  EXPECT_EQ(second["captions"]["added"], 0);
  EXPECT_EQ(second["captions"]["unchanged"], 3);
  const Result found = RunFovea({"search", "wooden", "--db", db, "--json"});
  ASSERT_FALSE(found.Lines().empty()) << found.err;
  const nlohmann::json hit = found.Lines().at(0);
  EXPECT_NE(hit["why"].get<std::string>().find("caption: a cup of coffee stands on a wooden table."), std::string::npos)
      << hit;
}

TEST_F(CliXmp, AltTextStandsBesideTheDescription) {
  const Result plain = Caption({"--xmp", "--json"});
  EXPECT_EQ(plain.exit, 0) << plain.err;
  const Result alt =
      RunFovea({"caption", File("cat.jpg"), "--model", Captioner(), "--xmp", "--style", "screen-reader", "--json"},
               Environment());
  EXPECT_EQ(alt.exit, 0) << alt.err;
  EXPECT_EQ(LineOf(alt, "cat.jpg")["status"], "written");
  const std::string packet = Files()["cat.jpg.xmp"];
  EXPECT_NE(packet.find("AltTextAccessibility"), std::string::npos);
  EXPECT_EQ(Properties(File("cat.jpg.xmp")).at("Xmp.dc.description"), "a cat with green eyes looks at the camera.");
  EXPECT_EQ(Undo().Lines().at(0)["removed"], 4);
}

TEST_F(CliXmp, WritesSidecarsOnceAndTakesThemBack) {
  const auto before = Files();
  const Result written = Caption({"--xmp", "--json"});
  ASSERT_EQ(written.exit, 0) << written.err;
  EXPECT_EQ(LineOf(written, "cat.jpg")["status"], "written");
  const auto properties = Properties(File("cat.jpg.xmp"));
  EXPECT_EQ(properties.at("Xmp.dc.description"), "a cat with green eyes looks at the camera.");
  EXPECT_EQ(properties.at("Xmp.fovea.DescriptionModel"), "captioner_tiny");
  EXPECT_GT(std::stod(properties.at("Xmp.fovea.DescriptionConfidence")), 0.9);
  EXPECT_NE(properties.at("Xmp.fovea.DescriptionSourceType").find("trainedAlgorithmicMedia"), std::string::npos);
  EXPECT_NE(properties.at("Xmp.photoshop.CaptionWriter").find("machine-made"), std::string::npos);
  const auto after = Files();
  const Result again = Caption({"--xmp", "--json"});
  for (const nlohmann::json& line : again.Lines()) EXPECT_EQ(line["status"], "unchanged") << line;
  EXPECT_EQ(LineOf(again, "cat.jpg")["caption"], LineOf(written, "cat.jpg")["caption"]);
  EXPECT_EQ(LineOf(again, "cat.jpg")["confidence"], LineOf(written, "cat.jpg")["confidence"]);
  EXPECT_EQ(Files(), after);
  // Other settings write anew; undo still goes back to the beginning.
  EXPECT_EQ(LineOf(Caption({"--xmp", "--json", "--max-tokens", "3"}), "cat.jpg")["status"], "written");
  EXPECT_EQ(Properties(File("cat.jpg.xmp")).at("Xmp.dc.description"), "a cat with");
  const Result undone = Undo();
  EXPECT_EQ(undone.exit, 0) << undone.err;
  EXPECT_EQ(undone.Lines().at(0)["removed"], 4);
  EXPECT_EQ(Files(), before);
  EXPECT_EQ(Undo().Lines().at(0)["removed"], 0);
}

TEST_F(CliXmp, EmbedsWithoutTouchingThePixels) {
  ASSERT_EQ(::chmod(File("cat.jpg").c_str(), 0640), 0);
  for (const char* name : {"lossy.webp", "orientation5.webp", "grey.png", "grey.tif", "orientation6.jpg"})
    fs::copy_file(Stored(name), File(name));
  const auto before = Files();
  const auto time = fs::last_write_time(File("cat.jpg"));
  const Image pixels = ReadImage(File("cat.jpg"));
  const Result written = Caption({"--xmp=embed", "--json"});
  ASSERT_EQ(written.exit, 0) << written.err;
  const Image same = ReadImage(File("cat.jpg"));
  EXPECT_TRUE(std::equal(pixels.data(), pixels.data() + pixels.size_bytes(), same.data()));
  for (const auto& [name, bytes] : before) {
    EXPECT_NE(Files()[name], bytes) << name;
    EXPECT_EQ(Properties(File(name)).at("Xmp.dc.description"), LineOf(written, name)["caption"]) << name;
  }
  struct stat info {};
  ASSERT_EQ(::stat(File("cat.jpg").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0640u);
  EXPECT_EQ(LineOf(Caption({"--xmp=embed", "--json"}), "cat.jpg")["status"], "unchanged");
  EXPECT_EQ(Undo().Lines().at(0)["restored"], static_cast<int64_t>(before.size()));
  EXPECT_EQ(Files(), before);
  EXPECT_EQ(fs::last_write_time(File("cat.jpg")), time);
}

// Whatever kind of picture: it takes the text and shows the same, or it is refused and stays as it is.
TEST_F(CliXmp, EmbedsOrRefusesEveryKindOfPicture) {
  for (const auto& entry : fs::directory_iterator(Stored("")))
    fs::copy_file(entry.path(), File(entry.path().filename()), fs::copy_options::overwrite_existing);
  const auto before = Files();
  const Result result = Caption({"--xmp=embed", "--json"});
  int64_t written = 0;
  for (const nlohmann::json& line : result.Lines()) {
    const std::string path = line["path"], name = fs::path(path).filename();
    if (line.contains("error")) {
      EXPECT_EQ(Files()[name], before.at(name)) << line;
      continue;
    }
    ++written;
    ImageInfo then, now;
    const std::vector<uint8_t> old(before.at(name).begin(), before.at(name).end());
    const Image a = DecodeImage(old, name, {}, &then), b = ReadImage(path, {}, &now);
    ASSERT_EQ(a.size_bytes(), b.size_bytes()) << name;
    EXPECT_TRUE(std::equal(a.data(), a.data() + a.size_bytes(), b.data())) << name;
    EXPECT_EQ(then.orientation, now.orientation) << name;
    EXPECT_EQ(then.capture_time, now.capture_time) << name;
    EXPECT_EQ(then.camera_model, now.camera_model) << name;
  }
  EXPECT_GT(written, 60);
  EXPECT_EQ(Undo().exit, 0);
  EXPECT_EQ(Files(), before);
}

TEST_F(CliXmp, LeavesAPersonsTextAlone) {
  Describe(File("cat.jpg"), "Minka, our cat");             // in the picture
  Describe(File("coffee.jpg.xmp"), "the café in Lisbon");  // beside it
  Describe(File("rocket.xmp"), "Launch day");              // beside it, by the other name
  const auto before = Files();
  const Result result = Caption({"--xmp", "--json"});
  EXPECT_EQ(result.exit, 0) << result.err;
  EXPECT_EQ(LineOf(result, "cat.jpg")["status"], "kept");
  EXPECT_EQ(LineOf(result, "cat.jpg")["text"], "Minka, our cat");
  EXPECT_EQ(LineOf(result, "coffee.jpg")["text"], "the café in Lisbon");
  EXPECT_EQ(LineOf(result, "rocket.jpg")["text"], "Launch day");
  EXPECT_EQ(LineOf(result, "printed-page.png")["status"], "written");
  const Result embedded = Caption({"--xmp=embed", "--json"});
  EXPECT_EQ(LineOf(embedded, "coffee.jpg")["status"], "kept");
  auto after = Files();
  after.erase("printed-page.png.xmp");
  after["printed-page.png"] = before.at("printed-page.png");
  EXPECT_EQ(after, before);
}

TEST_F(CliXmp, WhatAPersonChangesIsTheirs) {
  ASSERT_EQ(Caption({"--xmp"}).exit, 0);
  Describe(File("cat.jpg.xmp"), "Minka with green eyes");
  const auto changed = Files();
  const Result again = Caption({"--xmp", "--json", "--max-tokens", "3"});
  EXPECT_EQ(LineOf(again, "cat.jpg")["status"], "kept");
  EXPECT_EQ(Files()["cat.jpg.xmp"], changed.at("cat.jpg.xmp"));
  const Result undone = Undo();
  EXPECT_EQ(undone.exit, 1);
  EXPECT_NE(undone.err.find("left alone"), std::string::npos) << undone.err;
  EXPECT_EQ(Files()["cat.jpg.xmp"], changed.at("cat.jpg.xmp"));
  EXPECT_FALSE(fs::exists(File("coffee.jpg.xmp")));
}

TEST_F(CliXmp, AddsToASidecarOfAnotherProgram) {
  const std::string packet =
      "<x:xmpmeta xmlns:x=\"adobe:ns:meta/\"><rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">"
      "<rdf:Description rdf:about=\"\" xmlns:dc=\"http://purl.org/dc/elements/1.1/\" xmlns:other=\"http://other/\" "
      "other:stars=\"5\"><dc:creator><rdf:Seq><rdf:li>Ann</rdf:li></rdf:Seq></dc:creator></rdf:Description></rdf:RDF>"
      "</x:xmpmeta>";
  WriteBytes(File("cat.jpg.xmp"), packet);
  WriteBytes(File("coffee.jpg.xmp"), "this is no XMP");
  const auto before = Files();
  const Result result = Caption({"--xmp", "--json"});
  EXPECT_EQ(result.exit, 1);  // for the one that is no XMP, which stays as it is
  EXPECT_EQ(LineOf(result, "coffee.jpg")["code"], "corrupt_data");
  EXPECT_EQ(Files()["coffee.jpg.xmp"], before.at("coffee.jpg.xmp"));
  EXPECT_EQ(Properties(File("cat.jpg.xmp")).at("Xmp.dc.creator"), "Ann");
  EXPECT_NE(Files()["cat.jpg.xmp"].find("stars=\"5\""), std::string::npos);
  EXPECT_EQ(Undo().exit, 0);
  EXPECT_EQ(Files(), before);
}

TEST_F(CliXmp, RefusesAPictureThatCannotHoldIt) {
  fs::copy_file(Stored("interlaced.gif"), File("plain.gif"));
  const auto before = Files().at("plain.gif");
  const Result result =
      RunFovea({"caption", File("plain.gif"), "--model", Captioner(), "--xmp=embed", "--json"}, Environment());
  EXPECT_EQ(result.exit, 1);
  EXPECT_EQ(result.Lines().at(0)["code"], "unimplemented") << result.out;
  EXPECT_EQ(Files().at("plain.gif"), before);
  EXPECT_EQ(RunFovea({"caption", File("plain.gif"), "--xmp=inside"}).exit, 2);
  EXPECT_EQ(RunFovea({"caption", File("plain.gif"), "--xmp", "--undo"}).exit, 2);
}

// Killed at random moments, in both ways of writing: whatever is left is whole, the next run finishes the work, and
// undo brings back every byte.
TEST_F(CliXmp, SurvivesKill9) {
  for (int copy = 0; copy < 12; ++copy) {
    for (const char* name : {"cat.jpg", "coffee.jpg", "rocket.jpg"})
      fs::copy_file(Sample(name), File(std::to_string(copy) + name));
  }
  const auto before = Files();
  std::mt19937 random(7);
  for (const char* place : {"--xmp", "--xmp=embed"}) {
    for (int round = 0; round < 8; ++round) {
      Process process(CaptionCommand({place, "--quiet", "--max-tokens", std::to_string(3 + round % 2)}), Environment());
      std::this_thread::sleep_for(std::chrono::milliseconds(100 + random() % 500));
      process.Signal(SIGKILL);
      process.Wait();
      for (const auto& [name, bytes] : Files()) {
        if (name.starts_with(".fovea-")) continue;  // a file that was being written; the next run overwrites it
        if (name.ends_with(".xmp")) {
          EXPECT_TRUE(Properties(File(name)).contains("Xmp.dc.description")) << name;
        } else {
          EXPECT_NO_THROW(ReadImage(File(name))) << name;
        }
      }
    }
    const Result finished = Caption({place, "--json", "--max-tokens", "5"});
    EXPECT_EQ(finished.exit, 0) << finished.err;
    EXPECT_EQ(finished.Lines().size(), before.size());
    const Result undone = Undo();
    EXPECT_EQ(undone.exit, 0) << undone.err;
    EXPECT_EQ(Files(), before);
  }
}

}  // namespace
}  // namespace fovea::e2e
