// Harmonizes the melody in the first staff of the open score with musegen. See musescore.md beside this file.
import QtQuick 2.9
import MuseScore 3.0
import FileIO 3.0

MuseScore {
    version: "1.0"
    description: "Sets three voices to the melody in the first staff, as in a chorale of Bach"
    menuPath: "Plugins.musegen.Harmonize"
    requiresScore: true

    // Where `musegen serve` listens, and what it is asked for.
    property string address: "http://127.0.0.1:8765"
    property string wishes: "verb=harmonize&track=1&format=musicxml"

    FileIO { id: given }
    FileIO { id: answered }
    FileIO { id: said }

    // Tells the user, and whoever started MuseScore without a window.
    function tell(text) {
        console.log("musegen: " + text)
        said.source = given.tempPath() + "/musegen-said.txt"
        said.write(text)
    }

    function ask(score) {
        var request = new XMLHttpRequest()
        request.open("POST", address + "/bridge?" + wishes, false)
        request.setRequestHeader("Content-Type", "application/vnd.recordare.musicxml+xml")
        request.send(score)
        if (request.status === 0)
            throw "no answer from " + address + ": start `musegen serve`"
        if (request.status !== 200)
            throw JSON.parse(request.responseText).error
        return request.responseText
    }

    onRun: {
        try {
            var folder = given.tempPath()
            given.source = folder + "/musegen-given.musicxml"
            if (!writeScore(curScore, given.source, "musicxml"))
                throw "the score could not be written to " + given.source
            answered.source = folder + "/musegen-answered.musicxml"
            answered.write(ask(given.read()))
            if (!readScore(answered.source))
                throw "the answer could not be opened"
            tell("done: " + answered.source)
        } catch (error) {
            tell(error)
        }
        Qt.quit()
    }
}
