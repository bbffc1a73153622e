// The words of a sound file or of live sound, as they become known; or a text as a sound file.
//
//   dsm-transcribe [--server ADDRESS] FILE
//   dsm-transcribe [--server ADDRESS] --live < samples: s16le, mono, 24000 Hz
//   dsm-transcribe [--server ADDRESS] --say TEXT OUT.wav
//
// ADDRESS: http://HOST:PORT, https://HOST or unix:PATH (default: http://127.0.0.1:8080). The
// environment variable DSM_MLX_API_KEY is the key, where the server wants one.

import DsmClient
import Foundation

func fail(_ message: String, _ status: Int32) -> Never {
    FileHandle.standardError.write(Data("error: \(message)\n".utf8))
    exit(status)
}

var arguments = Array(CommandLine.arguments.dropFirst())
var address = "http://127.0.0.1:8080"
if arguments.first == "--server", arguments.count > 1 {
    address = arguments[1]
    arguments.removeFirst(2)
}
do {
    let client = try DsmClient(
        address, key: ProcessInfo.processInfo.environment["DSM_MLX_API_KEY"])
    if arguments.first == "--say", arguments.count == 3 {
        let sound = try await client.speak(arguments[1])
        try sound.write(to: URL(fileURLWithPath: arguments[2]))
    } else if arguments == ["--live"] {
        let live = try await client.live()
        let hearing = Task {
            while let data = try FileHandle.standardInput.read(upToCount: 3840), !data.isEmpty {
                let samples = stride(from: 0, to: data.count - 1, by: 2).map {
                    Float(Int16(bitPattern: UInt16(data[$0]) | UInt16(data[$0 + 1]) << 8)) / 32768
                }
                try await live.hear(samples)
            }
            try await live.finish()
        }
        for try await text in live.words() {
            FileHandle.standardOutput.write(Data(text.utf8))
        }
        try await hearing.value
        print()
    } else if arguments.count == 1, !arguments[0].hasPrefix("--") {
        let file = URL(fileURLWithPath: arguments[0])
        let words = client.transcribe(try Data(contentsOf: file), name: file.lastPathComponent)
        for try await text in words {
            FileHandle.standardOutput.write(Data(text.utf8))
        }
        print()
    } else {
        fail("expected [--server ADDRESS] and FILE, --live, or --say TEXT OUT.wav", 2)
    }
} catch let error as DsmError {
    fail(error.description, 1)
} catch {
    fail(error.localizedDescription, 1)
}
