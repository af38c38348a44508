// Predictions of bioseg in Fiji or ImageJ: opens each image of a folder with the outlines of its objects, with the names
// and in the colours of their classes, and measures every object on the image.
//
// usage: Plugins > Macros > Run..., which asks for two folders; or, in a script,
//        ImageJ -macro measure_objects.ijm "IMAGES|PREDICTED|TABLE.csv"
// IMAGES     the images that were predicted
// PREDICTED  what `bioseg predict RUN IMAGES --objects --lut --out PREDICTED` wrote. Without --objects, each class is
//            one outline, taken from the mask. Without --lut, the colours are those that ImageJ gives to groups
// TABLE.csv  where the measurements go; the images are closed then. Without it they stay open, with the table "Objects"
//
// Lengths are in the unit of the image. Of an image with several channels, the first channel is measured.

var names; // of the values 0, 1, 2, ... of a mask
var reds, greens, blues; // of these values

given = split(getArgument(), "|");
if (given.length < 2) {
    images = getDirectory("Folder of the images");
    predicted = getDirectory("Folder of the prediction");
} else {
    images = given[0] + File.separator;
    predicted = given[1] + File.separator;
}
scripted = given.length == 3;
if (scripted) setBatchMode(true);

table = "Objects";
Table.create(table);
files = getFileList(images);
without = 0;
for (number = 0; number < files.length; number++) {
    stem = withoutSuffix(files[number]);
    mask = predicted + stem + ".tif";
    if (!File.exists(mask)) {
        without++;
        continue;
    }
    readClasses(mask);
    objects = predicted + "objects" + File.separator + stem + ".zip";
    roiManager("reset");
    if (File.exists(objects))
        roiManager("open", objects);
    else
        addClasses(mask);
    open(images + files[number]);
    measure(files[number]);
    roiManager("show all with labels");
    run("From ROI Manager");
    if (scripted) close();
}
Table.update(table);
if (scripted) Table.save(given[2], table);
print(Table.size(table) + " objects were measured; " + without + " of " + files.length + " files have no mask");

// Names and colours the outlines in the ROI manager by their classes, and adds a row for each to the table.
function measure(image) {
    for (index = 0; index < roiManager("count"); index++) {
        roiManager("select", index);
        goToFrame();
        group = Roi.getGroup;
        class = names[group];
        object = RoiManager.getName(index);
        if (object != class) roiManager("rename", class + " " + object);
        if (reds[1] != greens[1] || greens[1] != blues[1])
            roiManager("Set Color", "#" + hex(reds[group]) + hex(greens[group]) + hex(blues[group]));
        List.setMeasurements;
        row = Table.size(table);
        Table.set("Image", row, image, table);
        Table.set("Object", row, object, table);
        Table.set("Class", row, class, table);
        columns = newArray("Area", "Perim.", "Circ.", "Solidity", "X", "Y", "Mean", "Min", "Max", "StdDev");
        for (column = 0; column < columns.length; column++)
            Table.set(columns[column], row, List.getValue(columns[column]), table);
    }
    roiManager("deselect");
    run("Select None");
}

// Shows the plane or the time point that the selected outline lies on.
function goToFrame() {
    Roi.getPosition(channel, plane, time);
    if (Stack.isHyperstack)
        Stack.setPosition(1, maxOf(plane, 1), maxOf(time, 1));
    else if (nSlices > 1)
        setSlice(maxOf(maxOf(plane, time), 1));
}

// Adds one outline for each class of a mask to the ROI manager.
function addClasses(mask) {
    open(mask);
    title = getTitle();
    for (value = 1; value < names.length; value++) {
        setThreshold(value, value);
        run("Create Selection");
        if (selectionType() != -1) {
            Roi.setName(names[value]);
            Roi.setGroup(value);
            roiManager("add");
        }
        run("Select None");
    }
    close(title);
}

// Reads what the values of a mask mean: its info has a line for each, such as "1 = nucleus".
function readClasses(mask) {
    open(mask);
    lines = split(getMetadata("Info"), "\n");
    getLut(reds, greens, blues);
    close();
    names = newArray(0);
    for (line = 0; line < lines.length; line++) {
        start = "" + names.length + " = ";
        if (startsWith(lines[line], start))
            names = Array.concat(names, substring(lines[line], lengthOf(start)));
    }
}

// The name of a file as bioseg calls its mask: cell7.ome.tif is cell7.
function withoutSuffix(name) {
    dot = lastIndexOf(name, ".");
    if (dot > 0) name = substring(name, 0, dot);
    if (endsWith(toLowerCase(name), ".ome")) name = substring(name, 0, lengthOf(name) - 4);
    return name;
}

// Two hexadecimal digits.
function hex(number) {
    return IJ.pad(toHex(number), 2);
}
